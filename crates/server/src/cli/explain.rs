//! `explain`: what the server would decide.

use super::given::file;
use super::{Failure, Outcome, Usage, say, token};
use crate::config::Config;
use crate::session::{Asked, Question};
use clap::Args;
use http::{HeaderName, HeaderValue};
use spinward::Answer;

const NEED_CHANNEL: [&str; 6] =
    ["subscribe", "sub_refresh", "publish", "presence", "presence_stats", "history"];

#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    pub(super) file: file::Deciding,
    /// The user; that of the token if left out, or the anonymous one
    #[arg(short, long)]
    user: Option<String>,
    /// The channel; connect and refresh need none
    #[arg(short = 's', long)]
    channel: Option<String>,
    /// Action to explain
    #[arg(short, long, default_value = "subscribe", value_parser = Asked::ALL.map(Asked::name))]
    action: String,
    /// The connection token; a connection of the user without one if left out
    #[arg(short, long, default_value = "", hide_default_value = true)]
    token: String,
    /// A header of the upgrade request, such as 'Cookie: NAME=TOKEN' or 'Origin: https://app.example.com'
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The subscription token
    #[arg(long, default_value = "", hide_default_value = true)]
    subscription_token: String,
    /// The id of the connection, where the subscription token may be for another
    #[arg(long)]
    client: Option<String>,
    /// The client is subscribed to the channel
    #[arg(long)]
    subscribed: bool,
    /// Call the proxy that decides, as for a client; otherwise it is only named
    #[arg(long)]
    ask_proxy: bool,
    /// Answer in JSON, as the API method `explain` does
    #[arg(long)]
    json: bool,
}

/// Not read by the parser of arguments, which repeats what it cannot read: it may be a token.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("--header: a header is NAME: VALUE")?;
    let name = name.trim().parse().map_err(|_| "--header: invalid header name before ':'")?;
    // The value is not repeated: it may be a token.
    let value =
        value.trim().parse().map_err(|_| "--header: the value cannot stand in a header".to_owned())?;
    Ok((name, value))
}

pub(super) fn run(config: &Config, command: &Explain) -> Result<Outcome, Failure> {
    if command.channel.is_none() && NEED_CHANNEL.contains(&command.action.as_str()) {
        return Err(Usage(format!("--channel is missing: {} is about one", command.action)).into());
    }
    let runtime = token::runtime()?;
    let _entered = runtime.enter();
    let explainer = crate::app::onlooker(config)?;
    let question = Question {
        user: command.user.clone(),
        client: command.client.clone(),
        channel: command.channel.clone().unwrap_or_default(),
        action: Asked::by_name(&command.action).ok_or("unknown action")?,
        token: command.token.clone(),
        headers: command.headers.iter().map(|text| header(text)).collect::<Result<_, _>>().map_err(Usage)?,
        subscription_token: command.subscription_token.clone(),
        subscribed: command.subscribed,
        ask_proxy: command.ask_proxy,
    };
    let told = token::wait(&runtime, Answer::later(async move { explainer.explain(&question).await }));
    let text = if command.json { serde_json::to_string(&told)? } else { told.to_string() };
    say(&text)?;
    Ok(if told.code.is_none() { Outcome::Done } else { Outcome::Refused })
}
