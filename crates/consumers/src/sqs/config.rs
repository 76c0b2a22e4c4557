//! Settings of a consumer of SQS, and its errors.

use crate::http::HttpError;
use reqwest::Url;
use std::time::Duration;
use thiserror::Error as ThisError;

/// Settings of a [`Queues`](super::Queues) source.
#[derive(Clone, Debug)]
pub struct Config {
    /// URLs of the queues.
    pub queues: Vec<String>,
    /// Messages come through SNS without raw delivery: each is in an envelope.
    pub sns_envelope: bool,
    /// The region. Empty is that of the queue's host, or of `AWS_REGION` and `AWS_DEFAULT_REGION`.
    pub region: String,
    /// Most messages of one receive, and most that one reader holds; 1 to 10.
    pub most: u8,
    /// Time that a receive waits for messages, up to 20 s.
    pub wait: Duration,
    /// Time after which a message that is not deleted is delivered again; 3 s to 12 h.
    pub visibility_timeout: Duration,
    /// Readers of each queue, 1 to 64.
    pub readers: u32,
    /// Profile of the shared configuration files. Empty takes the first credentials of the environment, these files,
    /// web identity, container and instance.
    pub profile: String,
    /// Role to assume with those credentials. If empty, no role is assumed.
    pub role: String,
    /// Address that stands for the service, with credentials that are no secret. Empty is the host of each queue.
    pub endpoint: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queues: Vec::new(),
            sns_envelope: false,
            region: String::new(),
            most: 10,
            wait: Duration::from_secs(20),
            visibility_timeout: Duration::from_secs(30),
            readers: 1,
            profile: String::new(),
            role: String::new(),
            endpoint: String::new(),
        }
    }
}

/// Errors of a source. None shows a credential.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// An option is missing.
    #[error("{0} must be set")]
    Unset(&'static str),
    /// A queue is there twice.
    #[error("queues has {0:?} twice")]
    Twice(String),
    /// An option is no URL.
    #[error("{0}: {1:?} is not a URL of the form https://…")]
    Address(&'static str, String),
    /// An option is out of its range.
    #[error("{option} must be {range}")]
    Range {
        /// The option.
        option: &'static str,
        /// Its range.
        range: &'static str,
    },
    /// The region is unknown.
    #[error("region must be set: the host of {0:?} does not name it, and AWS_REGION is not set")]
    Region(String),
    /// A request has no answer.
    #[error("SQS: {0}")]
    Http(#[from] HttpError),
    /// A request cannot be signed.
    #[error("SQS: no credentials: {0}")]
    Credentials(String),
    /// A request was refused.
    #[error("SQS: {action} was refused with status {status}: {code}")]
    Refused {
        /// The action.
        action: &'static str,
        /// Status of the answer.
        status: u16,
        /// Code of the error.
        code: String,
    },
    /// An answer cannot be read.
    #[error("SQS: unexpected answer to {0}")]
    Answer(&'static str),
}

impl Config {
    /// Checks everything that can be checked without a connection.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn check(&self) -> Result<(), Error> {
        if self.queues.is_empty() || self.queues.iter().any(String::is_empty) {
            return Err(Error::Unset("queues"));
        }
        for (at, queue) in self.queues.iter().enumerate() {
            let url = address("queues", queue)?;
            if self.queues[..at].contains(queue) {
                return Err(Error::Twice(queue.clone()));
            }
            self.region(&url)?;
        }
        if !self.endpoint.is_empty() {
            address("localstack_endpoint", &self.endpoint)?;
        }
        let seconds =
            |least, most, time| (Duration::from_secs(least)..=Duration::from_secs(most)).contains(&time);
        for (option, range, fits) in [
            ("max_number_of_messages", "from 1 to 10", (1..=10).contains(&self.most)),
            ("wait_time_time", "from 0s to 20s", seconds(0, 20, self.wait)),
            ("visibility_timeout", "from 3s to 12h", seconds(3, 12 * 3_600, self.visibility_timeout)),
            ("max_concurrency", "from 1 to 64", (1..=64).contains(&self.readers)),
        ] {
            if !fits {
                return Err(Error::Range { option, range });
            }
        }
        Ok(())
    }

    /// The region of a queue.
    pub(super) fn region(&self, queue: &Url) -> Result<String, Error> {
        if !self.region.is_empty() {
            return Ok(self.region.clone());
        }
        if let Some(region) = region_of(queue.host_str().unwrap_or_default()) {
            return Ok(region);
        }
        let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let mut set = variables.iter().filter_map(|name| std::env::var(name).ok());
        if let Some(region) = set.find(|region| !region.is_empty()) {
            return Ok(region);
        }
        match self.endpoint.is_empty() {
            true => Err(Error::Region(queue.to_string())),
            false => Ok("us-east-1".to_owned()),
        }
    }
}

/// Reads a URL.
pub(super) fn address(option: &'static str, text: &str) -> Result<Url, Error> {
    let wrong = || Error::Address(option, text.to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    // Credentials do not belong there, and would be shown.
    let fits =
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    fits.then_some(url).ok_or_else(|| Error::Address(option, "…".to_owned()))
}

/// The region that a host names: `sqs.REGION.amazonaws.com`, and the older `REGION.queue.amazonaws.com`.
fn region_of(host: &str) -> Option<String> {
    let labels: Vec<_> = host.split('.').collect();
    let at = |name| labels.iter().position(|label| *label == name);
    at("amazonaws")?;
    let region = match at("sqs").or_else(|| at("sqs-fips")) {
        Some(sqs) => labels.get(sqs + 1)?,
        None => match at("queue")? {
            0 => return Some("us-east-1".to_owned()),
            queue => labels.get(queue - 1)?,
        },
    };
    Some((*region).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/events";

    #[test]
    fn options_that_cannot_be_used_are_named() {
        let right = Config { queues: vec![QUEUE.to_owned()], ..Config::default() };
        right.check().unwrap();
        for (name, wrong) in [
            ("queues", Config { queues: Vec::new(), ..right.clone() }),
            ("queues", Config { queues: vec!["events".to_owned()], ..right.clone() }),
            ("queues", Config { queues: vec![QUEUE.to_owned(), QUEUE.to_owned()], ..right.clone() }),
            ("queues", Config { queues: vec!["https://ann:canary@host/q".to_owned()], ..right.clone() }),
            ("max_number_of_messages", Config { most: 11, ..right.clone() }),
            ("wait_time_time", Config { wait: Duration::from_secs(21), ..right.clone() }),
            ("visibility_timeout", Config { visibility_timeout: Duration::ZERO, ..right.clone() }),
            ("max_concurrency", Config { readers: 0, ..right.clone() }),
            ("localstack_endpoint", Config { endpoint: "localhost".to_owned(), ..right }),
        ] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn hosts_name_their_region() {
        for (host, region) in [
            ("sqs.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("sqs-fips.us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
            ("sqs.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("vpce-0-1.sqs.us-east-2.vpce.amazonaws.com", Some("us-east-2")),
            ("eu-west-2.queue.amazonaws.com", Some("eu-west-2")),
            ("queue.amazonaws.com", Some("us-east-1")),
            ("sqs.internal", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(region_of(host).as_deref(), region, "{host}");
        }
    }
}
