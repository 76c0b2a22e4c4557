//! Tables and functions: their text, and how they get into a database.
//!
//! Each engine has a part of its own, with a version. A table of the prefix says which version of each part is there,
//! and the oldest version of this program that can use it. Changes are made in one transaction under an advisory lock,
//! so that nodes that start together make them once.

use super::error::Error;
use std::fmt::Write;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// The advisory lock under which schemas change, for all prefixes of a database: `SPINWARD` in ASCII.
const LOCK: i64 = 0x5350_494e_5741_5244;

/// Time that changes of a schema may take.
const PATIENCE: Duration = Duration::from_secs(120);

const STREAM: &str = include_str!("sql/stream.sql");
const PARTITIONS: &str = include_str!("sql/partitions.sql");
const PRESENCE: &str = include_str!("sql/presence.sql");
const CONTROLLER: &str = include_str!("sql/controller.sql");

/// The part of the schema that an engine uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    version: i32,
    /// The oldest version of the program's part that can use what this one makes.
    compatible: i32,
    text: &'static str,
    /// Name of its partitioned table, without the prefix.
    log: Option<&'static str>,
    shards: u32,
}

impl Part {
    pub(super) const fn stream(shards: u32) -> Self {
        let log = Some("stream_log");
        Self { name: "stream", version: 1, compatible: 1, text: STREAM, log, shards }
    }

    pub(super) const fn presence() -> Self {
        Self { name: "presence", version: 1, compatible: 1, text: PRESENCE, log: None, shards: 0 }
    }

    pub(super) const fn controller() -> Self {
        let log = Some("controller_log");
        Self { name: "controller", version: 1, compatible: 1, text: CONTROLLER, log, shards: 0 }
    }

    /// Everything that creates this part, for a transaction.
    pub(super) fn script(&self, schema: &str, prefix: &str) -> String {
        let mut text = format!(
            "CREATE TABLE IF NOT EXISTS @S@.@P@_spinward \
             (part text PRIMARY KEY, version integer NOT NULL, compatible integer NOT NULL);\n{}",
            expand(self.text)
        );
        if let Some(log) = self.log {
            let log = format!("@P@_{log}");
            text += &PARTITIONS.replace("@LOG@", &log);
            let _ = writeln!(text, "SELECT @S@.{log}_add(2, 60000);");
        }
        let Self { name, version, compatible, .. } = self;
        let _ = writeln!(
            text,
            "INSERT INTO @S@.@P@_spinward (part, version, compatible) VALUES ('{name}', {version}, {compatible})\n\
             ON CONFLICT (part) DO UPDATE SET version = EXCLUDED.version, compatible = EXCLUDED.compatible;"
        );
        text.replace("@S@", &format!("\"{schema}\""))
            .replace("@P@", prefix)
            .replace("@SHARDS@", &self.shards.to_string())
    }

    /// Sees to it that the part is there in a version that can be used.
    pub(super) async fn ensure(&self, client: &mut Client, prefix: &str, create: bool) -> Result<(), Error> {
        let schema: Option<String> =
            client.query_one("SELECT current_schema()::text", &[]).await?.try_get(0)?;
        let schema = schema.ok_or(Error::NoSchema)?;
        // It is part of texts of functions; names like these are nowhere in use.
        if schema.contains(['"', '\'', '\\', '%', '$', '@']) {
            return Err(Error::Answer(format!("the schema {schema:?} has an unsupported name")));
        }
        if self.usable(client, &schema, prefix).await? {
            return Ok(());
        }
        if !create {
            return Err(match self.found(client, &schema, prefix).await? {
                Some((found, _)) => Error::Version {
                    found,
                    known: self.version,
                    remedy: "update the tables, or unset skip_schema_init",
                },
                None => Error::NoTables(prefix.to_owned()),
            });
        }
        tracing::info!(part = self.name, schema, table_prefix = prefix, "creating tables in PostgreSQL");
        self.create(client, &schema, prefix).await.map_err(|error| match error.code() {
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                Error::Rights { schema, cause: error.to_string() }
            }
            _ => error,
        })
    }

    async fn create(&self, client: &mut Client, schema: &str, prefix: &str) -> Result<(), Error> {
        let patience = PATIENCE.as_millis();
        let transaction = client.transaction().await?;
        transaction
            .batch_execute(&format!(
                "SET LOCAL statement_timeout = {patience}; SET LOCAL lock_timeout = {patience}; \
                 SELECT pg_advisory_xact_lock({LOCK})"
            ))
            .await?;
        // Another node may have been faster.
        let there = self.usable(transaction.client(), schema, prefix).await?;
        if !there {
            transaction.batch_execute(&self.script(schema, prefix)).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Returns false if the part is missing or too old.
    async fn usable(&self, client: &Client, schema: &str, prefix: &str) -> Result<bool, Error> {
        match self.found(client, schema, prefix).await? {
            Some((found, compatible)) if compatible > self.version => {
                Err(Error::Version { found, known: self.version, remedy: "update this program" })
            }
            Some((found, _)) => Ok(found >= self.version),
            None => Ok(false),
        }
    }

    /// The version that is there, and the oldest that can use it.
    async fn found(&self, client: &Client, schema: &str, prefix: &str) -> Result<Option<(i32, i32)>, Error> {
        let table = format!("\"{schema}\".{prefix}_spinward");
        // By a read of the catalog: `to_regclass` goes by what the session has cached, and a transaction that has waited
        // for the lock would not see what another one has made meanwhile.
        let known = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1::text AND c.relname = $2::text)";
        let there = client.query_one(known, &[&schema, &format!("{prefix}_spinward")]).await?;
        if !there.try_get::<_, bool>(0)? {
            return Ok(None);
        }
        let text = format!("SELECT version, compatible FROM {table} WHERE part = $1");
        match client.query_opt(&text, &[&self.name]).await? {
            Some(row) => Ok(Some((row.try_get(0)?, row.try_get(1)?))),
            None => Ok(None),
        }
    }
}

/// Writes what stands between `@EACH` and `@END` twice: for JSON and for bytes.
fn expand(text: &str) -> String {
    let mut whole = String::with_capacity(2 * text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("@EACH\n") {
        let (each, after) = after.split_once("@END\n").unwrap_or((after, ""));
        whole += before;
        for (function, kind, bytes) in [
            ("@P@_stream", "jsonb", "convert_to(p_data::text, 'UTF8')"),
            ("@P@_binary_stream", "bytea", "p_data"),
        ] {
            whole += &each.replace("@F@", function).replace("@T@", kind).replace("@BYTES@", bytes);
        }
        rest = after;
    }
    whole + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_replace() {
        for part in [Part::stream(8), Part::presence(), Part::controller()] {
            let script = part.script("public", "cf");
            assert!(!script.contains('@'), "{}: {:?}", part.name, script.split('@').nth(1));
            assert!(script.contains("\"public\".cf_"), "{}", part.name);
        }
        let stream = Part::stream(8).script("public", "cf");
        for name in
            ["publish", "publish_strict", "publish_join", "publish_leave", "remove_history", "top_position"]
        {
            assert!(stream.contains(&format!("FUNCTION \"public\".cf_stream_{name}(")), "{name}");
            assert!(stream.contains(&format!("FUNCTION \"public\".cf_binary_stream_{name}(")), "{name}");
        }
    }
}
