//! Commands that make and check tokens with the keys of the configuration.
//!
//! A check asks the code that the server runs: the verifier, then the decision about permissions.

use super::given::file;
use super::{Failure, Outcome, complain, say};
use crate::auth::claims::{CAPS_FIX, ConnectToken, SubscribeToken};
use crate::auth::jws::{Alg, Jws};
use crate::auth::reason::{Refusal, Use};
use crate::auth::sign::{Signer, required_claims};
use crate::config::catalogue::Pem;
use crate::config::typed::TokenIssuer;
use crate::config::{Config, Duration, pem};
use crate::policy::explain::explain;
use crate::policy::{Reply, Request, SubscribeFacts, SubscriptionToken, Verdict, Wishes, decide_after};
use crate::secret::Secret;
use crate::session::{CAPS_IGNORED, of_connection, of_subscription, personal_channel};
use clap::Args;
use serde_json::{Value, json};
use spinward::Answer;
use spinward::clock::Clock;
use tokio::runtime::Runtime;

/// A week, in seconds.
const WEEK: i64 = 604_800;

#[derive(Debug, Args)]
pub(super) struct GenConnectionToken {
    #[command(flatten)]
    pub(super) file: file::Signing,
    #[command(flatten)]
    pub(super) token: GenToken,
}

#[derive(Debug, Args)]
pub(super) struct GenToken {
    /// User of the token; empty is anonymous
    #[arg(short, long, default_value = "")]
    user: String,
    /// Seconds until it expires; below zero it never does
    #[arg(short, long, default_value_t = WEEK, allow_negative_numbers = true)]
    ttl: i64,
    /// Print the token alone
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    with: With,
}

/// Key that a token is signed with.
#[derive(Debug, Default, Args)]
struct With {
    /// Private key to sign with, in place of the configured secret: a PEM file, PEM or its base64
    #[arg(short = 'k', long, value_name = "PEM")]
    private_key: Option<Secret>,
    /// Algorithm; the usual one of the key if left out
    #[arg(long, value_name = "NAME", value_parser = Alg::ALL.map(Alg::name))]
    alg: Option<String>,
    /// Name of the key in a key set, for the header
    #[arg(long, value_name = "NAME")]
    kid: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct GenSubToken {
    #[command(flatten)]
    pub(super) file: file::Signing,
    /// Channel of the token
    #[arg(short = 's', long)]
    channel: String,
    #[command(flatten)]
    token: GenToken,
}

#[derive(Debug, Args)]
pub(super) struct CheckToken {
    #[command(flatten)]
    pub(super) file: file::Deciding,
    /// The token
    token: String,
    /// The user whose connection it should prolong
    #[arg(short, long)]
    user: Option<String>,
    /// A channel that the client would subscribe to, without a subscription token
    #[arg(short = 's', long)]
    channel: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CheckSubToken {
    #[command(flatten)]
    pub(super) file: file::Deciding,
    /// The token
    token: String,
    /// The user of the connection that it will be used on; that of the token if left out
    #[arg(short, long)]
    user: Option<String>,
    /// The channel that it will be used for; that of the token if left out
    #[arg(short = 's', long)]
    channel: Option<String>,
    /// The id of the connection that it will be used on
    #[arg(long)]
    client: Option<String>,
}

pub(super) fn generate(config: &Config, command: &GenToken) -> Result<Outcome, Failure> {
    make("connection", "client.token", &config.client.token.own, json!({}), command)
}

pub(super) fn generate_sub(config: &Config, command: &GenSubToken) -> Result<Outcome, Failure> {
    if command.channel.is_empty() {
        return Err("--channel must not be empty".into());
    }
    let separate = &config.client.subscription_token;
    let (path, token) = if separate.enabled {
        ("client.subscription_token", &separate.token.own)
    } else {
        ("client.token", &config.client.token.own)
    };
    make("subscription", path, token, json!({ "channel": command.channel }), &command.token)
}

fn make(
    kind: &str,
    path: &str,
    keys: &TokenIssuer,
    claims: Value,
    command: &GenToken,
) -> Result<Outcome, Failure> {
    let (alg, token) = signed(path, keys, claims, command, now())?;
    if !command.quiet {
        for (option, claim, pattern, fixed) in [
            ("issuer_regex", "iss", &keys.issuer_regex, &keys.issuer),
            ("audience_regex", "aud", &keys.audience_regex, &keys.audience),
        ] {
            if !pattern.is_empty() && fixed.is_empty() {
                complain(&format!("note: {path}.{option} refuses this token, which has no {claim}"));
            }
        }
        let ends = match u64::try_from(command.ttl) {
            Ok(ttl) => format!("expires in {}", Duration::secs(ttl)),
            Err(_) => "never expires".to_owned(),
        };
        // Apart from the token, so that a pipe gets the token alone.
        complain(&format!("{alg} {kind} token for {}, {ends}:", whose(&command.user)));
    }
    say(&token)?;
    Ok(Outcome::Done)
}

fn signed(
    path: &str,
    keys: &TokenIssuer,
    further: Value,
    command: &GenToken,
    now: i64,
) -> Result<(Alg, String), Failure> {
    let signer = signer(path, keys, &command.with)?;
    let alg = match &command.with.alg {
        None => signer.alg(),
        Some(name) => Alg::from_name(name).ok_or_else(|| {
            let names = Alg::ALL.map(Alg::name).join(", ");
            format!("--alg {name:?} is not one of {names}")
        })?,
    };
    let mut claims = required_claims(keys, &command.user);
    for (claim, value) in further.as_object().into_iter().flatten() {
        claims[claim] = value.clone();
    }
    claims["iat"] = Value::from(now);
    if command.ttl >= 0 {
        claims["exp"] = Value::from(now.saturating_add(command.ttl));
    }
    let token = signer.claims(alg, command.with.kid.as_deref(), &claims);
    Ok((alg, token.map_err(|fault| format!("--alg: {fault}"))?))
}

fn signer(path: &str, keys: &TokenIssuer, with: &With) -> Result<Signer, Failure> {
    if let Some(given) = &with.private_key {
        let text = pem::load(&Pem(given.clone())).map_err(|error| format!("--private-key: {error}"))?;
        let signer = Signer::pem(&String::from_utf8_lossy(&text));
        return Ok(signer.map_err(|fault| format!("--private-key: {fault}"))?);
    }
    if keys.hmac_secret_key.is_empty() {
        return Err(format!(
            "{path}.hmac_secret_key is not set: there is nothing to sign with. \
             Where the private key of a configured public key or key set is at hand, give it with --private-key"
        )
        .into());
    }
    Ok(Signer::hmac(keys.hmac_secret_key.expose()))
}

pub(super) fn check(config: &Config, command: &CheckToken) -> Result<Outcome, Failure> {
    tell(connection(config, command, now()), &command.token)
}

pub(super) fn check_sub(config: &Config, command: &CheckSubToken) -> Result<Outcome, Failure> {
    tell(subscription(config, command, now()), &command.token)
}

/// Prints the decision about a token, and what is in it.
fn tell(checked: Result<String, Fault>, token: &str) -> Result<Outcome, Failure> {
    let (text, outcome) = match checked {
        Ok(text) => (text, Outcome::Done),
        Err(Fault::Refused(text)) => (text, Outcome::Refused),
        Err(Fault::Failed(failure)) => return Err(failure),
    };
    say(&text)?;
    if let Some(contents) = contents(token) {
        say(&contents)?;
    }
    Ok(outcome)
}

/// Header and claims, whatever the signature is worth. `None` if there are none to be read.
fn contents(token: &str) -> Option<String> {
    let jws = Jws::parse(token).ok()?;
    let claims: Value = serde_json::from_slice(&jws.payload).ok()?;
    let claims = serde_json::to_string_pretty(&claims).ok()?.replace('\n', "\n  ");
    let kid = jws.kid.map(|kid| format!(", kid {kid:?}")).unwrap_or_default();
    Some(format!("  algorithm: {}{kid}\n  claims: {claims}", jws.alg))
}

/// The reason why there is no good token.
enum Fault {
    /// A client would be refused, with the reason.
    Refused(String),
    /// That cannot be told.
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Fault {
    fn from(failure: E) -> Self {
        Self::Failed(failure.into())
    }
}

fn connection(config: &Config, command: &CheckToken, now: i64) -> Result<String, Fault> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let onlooker = crate::app::onlooker(config)?;
    let answer = onlooker.active.get().keys.connection.verify_connection(&command.token, now);
    let anonymous = !config.client.disallow_anonymous_connection_tokens;
    let token = wait(&runtime, answer)
        .and_then(|token| {
            token.usable(anonymous, now)?;
            onlooker.revocations.check(&of_connection(&token))?;
            Ok(token)
        })
        .map_err(|refusal| refused(&refusal, &[Use::Connect, Use::Refresh]))?;
    if let Some(user) = &command.user {
        token.refreshes(user).map_err(|refusal| refused(&refusal, &[Use::Refresh]))?;
    }
    personal_channel(&onlooker.active.get(), &token.user)
        .map_err(|refusal| refused(&refusal, &[Use::Connect]))?;
    let mut text =
        format!("valid token for {}\n  expires: {}", whose(&token.user), ends(token.expire_at, now));
    if !token.subs.is_empty() {
        let channels: Vec<&str> = token.subs.keys().map(String::as_str).collect();
        text += &format!("\n  subscribed by the server to: {}", channels.join(", "));
    }
    if !token.labels.is_empty() {
        let labels: Vec<String> =
            token.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        text += &format!("\n  labels: {}", labels.join(", "));
    }
    if token.caps_ignored {
        text += &format!("\n  note: {CAPS_IGNORED}: {CAPS_FIX}");
    }
    if let Some(channel) = &command.channel {
        text += "\n";
        text += &permission(config, &token, channel, now)?;
    }
    Ok(text)
}

fn subscription(config: &Config, command: &CheckSubToken, now: i64) -> Result<String, Fault> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let onlooker = crate::app::onlooker(config)?;
    let answer = onlooker.active.get().keys.subscription.verify_subscription(&command.token, now);
    let both = [Use::Subscribe, Use::SubRefresh];
    let token = wait(&runtime, answer).map_err(|refusal| refused(&refusal, &both))?;
    let user = command.user.as_deref().unwrap_or(&token.user);
    let channel = command.channel.as_deref().unwrap_or(&token.channel);
    token
        .usable(user, channel, command.client.as_deref(), now)
        .and_then(|()| onlooker.revocations.check(&of_subscription(&token)))
        .map_err(|refusal| refused(&refusal, &both))?;
    let told = decided(config, &token, user, channel, now)?;
    let (whose, ends) = (whose(&token.user), ends(token.expire_at, now));
    Ok(format!("valid subscription token for {whose} and channel {channel:?}\n  expires: {ends}\n{told}"))
}

/// Returns the server's decision about a subscription with this token.
fn decided(
    config: &Config,
    token: &SubscribeToken,
    user: &str,
    channel: &str,
    now: i64,
) -> Result<String, Fault> {
    let facts =
        SubscribeFacts { token: SubscriptionToken::Verified(token.facts()), wishes: Wishes::default() };
    told(config, &Request::new(facts, channel, user, now))
}

/// Returns the server's decision about a subscription of a connection with this token.
fn permission(config: &Config, token: &ConnectToken, channel: &str, now: i64) -> Result<String, Fault> {
    let mut request = Request::new(SubscribeFacts::default(), channel, &token.user, now);
    request.capabilities = token.caps.as_ref();
    told(config, &request)
}

fn told(config: &Config, request: &Request<'_, SubscribeFacts<'_>>) -> Result<String, Fault> {
    let rules = crate::app::rules(config)?;
    let decision = decide_after(&rules, request, &Reply::NoProxy);
    let text = explain(&rules, request, &decision).to_string();
    if matches!(decision.verdict, Verdict::Allow(_)) { Ok(text) } else { Err(Fault::Refused(text)) }
}

fn now() -> i64 {
    Clock::system().now().unix()
}

/// Returns the runtime for fetching key sets.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// Waits for an answer; keys of a set take a request.
pub(super) fn wait<T: Send + 'static>(runtime: &Runtime, answer: Answer<T>) -> T {
    match answer {
        Answer::Now(value) => value,
        later @ Answer::Later(_) => runtime.block_on(later.wait()),
    }
}

fn refused(refusal: &Refusal, uses: &[Use]) -> Fault {
    let mut text = format!("{refusal}\n  to change: {}", refusal.fix);
    for used in uses {
        text += &format!("\n  on {} a client gets: {}", used.name(), refusal.outcome(*used));
    }
    if refusal.is_temporary() { Fault::Failed(text.into()) } else { Fault::Refused(text) }
}

fn whose(user: &str) -> String {
    if user.is_empty() { "the anonymous user".to_owned() } else { format!("user {user:?}") }
}

fn ends(at: Option<i64>, now: i64) -> String {
    match at.map(|at| u64::try_from(at.saturating_sub(now)).unwrap_or_default()) {
        None => "never".to_owned(),
        Some(seconds) => format!("in {}", Duration::secs(seconds)),
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
