//! Commands that make and check tokens with the keys of the configuration.

use super::{Failure, complain, say};
use crate::auth::reason::{Refusal, Use};
use crate::auth::sign::hs256;
use crate::config::{Config, Duration};
use crate::secret::Secret;
use clap::Args;
use serde_json::{Value, json};
use spinward::Answer;
use spinward::clock::Clock;

/// A week, in seconds.
const WEEK: i64 = 604_800;

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
}

#[derive(Debug, Args)]
pub(super) struct GenSubToken {
    /// Channel of the token
    #[arg(short = 's', long)]
    channel: String,
    #[command(flatten)]
    token: GenToken,
}

#[derive(Debug, Args)]
pub(super) struct CheckToken {
    /// The token
    token: String,
}

#[derive(Debug, Args)]
pub(super) struct CheckSubToken {
    /// The token
    token: String,
}

pub(super) fn generate(config: &Config, command: &GenToken) -> Result<(), Failure> {
    let secret = &config.client.token.hmac_secret_key;
    make("connection", "client.token.hmac_secret_key", secret, json!({}), command)
}

pub(super) fn generate_sub(config: &Config, command: &GenSubToken) -> Result<(), Failure> {
    if command.channel.is_empty() {
        return Err("--channel must not be empty".into());
    }
    let separate = &config.client.subscription_token;
    let (option, secret) = if separate.enabled {
        ("client.subscription_token.hmac_secret_key", &separate.token.hmac_secret_key)
    } else {
        ("client.token.hmac_secret_key", &config.client.token.hmac_secret_key)
    };
    make("subscription", option, secret, json!({ "channel": command.channel }), &command.token)
}

fn make(
    kind: &str,
    option: &str,
    secret: &Secret,
    mut claims: Value,
    command: &GenToken,
) -> Result<(), Failure> {
    if secret.is_empty() {
        return Err(format!("{option} is not set: there is nothing to sign with").into());
    }
    let now = Clock::system().now().unix();
    claims["sub"] = Value::from(command.user.as_str());
    claims["iat"] = Value::from(now);
    if command.ttl >= 0 {
        claims["exp"] = Value::from(now.saturating_add(command.ttl));
    }
    if !command.quiet {
        let whose = if command.user.is_empty() {
            "an anonymous user".to_owned()
        } else {
            format!("user {:?}", command.user)
        };
        let ends = match u64::try_from(command.ttl) {
            Ok(ttl) => format!("expires in {}", Duration::secs(ttl)),
            Err(_) => "never expires".to_owned(),
        };
        complain(&format!("HS256 {kind} token for {whose}, {ends}:"));
    }
    say(&hs256(secret.expose(), &claims));
    Ok(())
}

pub(super) fn check(config: &Config, command: &CheckToken) -> Result<(), Failure> {
    let now = Clock::system().now().unix();
    let checked = wait(crate::app::keys(config)?.connection.verify_connection(&command.token, now))?;
    let anonymous = !config.client.disallow_anonymous_connection_tokens;
    let token = checked
        .and_then(|token| token.usable(anonymous, now).map(|()| token))
        .map_err(|refusal| refused(&refusal, Use::Connect))?;
    say(&format!("valid\nuser: {}\nexpires: {}", user(&token.user), ends(token.expire_at, now)));
    if !token.subs.is_empty() {
        say(&format!("channels: {}", token.subs.keys().cloned().collect::<Vec<_>>().join(", ")));
    }
    Ok(())
}

pub(super) fn check_sub(config: &Config, command: &CheckSubToken) -> Result<(), Failure> {
    let now = Clock::system().now().unix();
    let checked = wait(crate::app::keys(config)?.subscription.verify_subscription(&command.token, now))?;
    let token = checked
        .and_then(|token| token.usable(&token.user, &token.channel, None, now).map(|()| token))
        .map_err(|refusal| refused(&refusal, Use::Subscribe))?;
    let (user, ends) = (user(&token.user), ends(token.expire_at, now));
    say(&format!("valid\nuser: {user}\nchannel: {}\nexpires: {ends}", token.channel));
    Ok(())
}

/// Waits for an answer; keys of a JWKS take a request.
fn wait<T: Send + 'static>(answer: Answer<T>) -> Result<T, Failure> {
    match answer {
        Answer::Now(value) => Ok(value),
        later => {
            Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(later.wait()))
        }
    }
}

fn refused(refusal: &Refusal, used: Use) -> String {
    format!("{refusal}\n  to do: {}\n  a client gets: {}", refusal.fix, refusal.outcome(used))
}

fn user(user: &str) -> String {
    if user.is_empty() { "(anonymous)".to_owned() } else { user.to_owned() }
}

fn ends(at: Option<i64>, now: i64) -> String {
    match at.map(|at| u64::try_from(at.saturating_sub(now)).unwrap_or_default()) {
        None => "never".to_owned(),
        Some(seconds) => format!("in {}", Duration::secs(seconds)),
    }
}
