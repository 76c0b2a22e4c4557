//! Verification of a token, step by step: for the console of `spinward dev`.

use crate::auth::claims::CAPS_FIX;
use crate::auth::reason::{Part, Reason, Refusal, Use};
use crate::session::{CAPS_IGNORED, Explainer, of_connection, of_subscription, personal_channel};
use serde_json::{Value, json};
use std::fmt::Write;

/// The steps of a verification, in its order.
const STEPS: [&str; 6] = [
    "three parts, each of them base64url, with JSON objects in the first two",
    "issuer and audience are the expected ones",
    "the signature is that of a configured key",
    "the claims have the right types",
    "the times: not expired, not ahead",
    "what it holds can be used",
];

/// Verifies `token` as the server would, and tells how that went.
///
/// The account has claims that the token's holder can read anyhow, and neither key nor signature.
pub(super) async fn explain(explainer: &Explainer, token: &str) -> Value {
    let (active, now) = (explainer.active.get(), explainer.clock.now().unix());
    let (keys, revocations) = (&active.keys, &explainer.revocations);
    let verified = keys.connection.verify_connection(token, now).wait().await;
    let checked = verified.and_then(|token| {
        token.usable(!active.settings.no_anonymous_tokens, now)?;
        revocations.check(&of_connection(&token))?;
        personal_channel(&active, &token.user)?;
        Ok(token)
    });
    let (used, account) = match checked {
        Ok(token) => {
            let mut summary =
                format!("Good: it connects {}, {}.", whom(&token.user), ends(token.expire_at, now));
            if token.caps_ignored {
                let _ = write!(summary, " But {CAPS_IGNORED}: {CAPS_FIX}.");
            }
            let mut account = json!({ "summary": summary });
            let channels: Vec<&String> = token.subs.keys().collect();
            if !channels.is_empty() {
                account["server_side_subscriptions"] = json!(channels);
            }
            (Use::Connect, Ok(account))
        }
        Err(refusal) if refusal.reason == Reason::SubscriptionTokenUsedToConnect => {
            let verified = keys.subscription.verify_subscription(token, now).wait().await;
            let usable = verified.and_then(|token| {
                token.usable(&token.user, &token.channel, None, now)?;
                revocations.check(&of_subscription(&token))?;
                Ok(token)
            });
            let account = usable.map(|token| {
                json!({
                    "summary": format!(
                        "Good: it subscribes {} to {:?}, {}. It is not a connection token.",
                        whom(&token.user), token.channel, ends(token.expire_at, now)
                    ),
                })
            });
            (Use::Subscribe, account)
        }
        Err(refusal) => (Use::Connect, Err(refusal)),
    };
    match account {
        Ok(mut account) => {
            account["steps"] = STEPS.iter().map(|text| json!({ "ok": true, "text": text })).collect();
            account
        }
        Err(refusal) => refused(&refusal, used),
    }
}

fn refused(refusal: &Refusal, used: Use) -> Value {
    let at = step_of(&refusal.reason);
    let mut steps: Vec<Value> = STEPS[..at].iter().map(|text| json!({ "ok": true, "text": text })).collect();
    steps.push(json!({ "ok": false, "text": format!("{}; to do: {}", refusal.detail, refusal.fix) }));
    json!({
        "summary": format!("Refused: {}.", refusal.detail),
        "steps": steps,
        "reason": refusal.reason.code(),
        "fix": refusal.fix,
        "client_gets": refusal.outcome(used).to_string(),
    })
}

/// The step that found the fault.
const fn step_of(reason: &Reason) -> usize {
    match reason {
        Reason::TokenMissing
        | Reason::OriginNotNamed
        | Reason::TokenAmbiguous
        | Reason::Malformed(Part::Token | Part::Header | Part::Payload | Part::Signature) => 0,
        Reason::IssuerMismatch | Reason::AudienceMismatch => 1,
        Reason::AlgNotAllowed
        | Reason::NoKeyForAlg
        | Reason::KidMissing
        | Reason::UnknownKid
        | Reason::KeysUnavailable
        | Reason::SignatureMismatch => 2,
        Reason::ClaimMissing(_) | Reason::ClaimType(_) => 3,
        Reason::NotYetValid | Reason::Expired => 4,
        Reason::Malformed(Part::B64Info | Part::B64Data | Part::Subs)
        | Reason::CredentialsExpired
        | Reason::SubscriptionTokenUsedToConnect
        | Reason::ConnectionTokenUsedToSubscribe
        | Reason::UserMismatch
        | Reason::ChannelMismatch
        | Reason::ClientMismatch
        | Reason::AnonymousNotAllowed
        | Reason::Revoked
        | Reason::Invalidated
        | Reason::UserBlocked
        | Reason::PersonalChannelUnknown
        | Reason::PersonalChannelShared => 5,
    }
}

fn whom(user: &str) -> String {
    if user.is_empty() { "an anonymous user".to_owned() } else { format!("user {user:?}") }
}

fn ends(at: Option<i64>, now: i64) -> String {
    match at {
        None => "without an end".to_owned(),
        Some(at) => format!("for {} s more", at.saturating_sub(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::sign::hs256;
    use crate::config::Config;
    use crate::secret::Secret;
    use spinward::clock::{Clock, Now};

    const NOW: i64 = 1_700_000_000;

    async fn account(token: &str) -> Value {
        let mut config = Box::<Config>::default();
        config.client.token.own.hmac_secret_key = Secret::new("a-secret-of-the-test".to_owned());
        let clock = Clock::manual(Now { mono: 0, wall: NOW * 1000 });
        explain(&Explainer { clock, ..crate::app::onlooker(&config).unwrap() }, token).await
    }

    fn verdicts(account: &Value) -> Vec<bool> {
        account["steps"].as_array().unwrap().iter().map(|step| step["ok"].as_bool().unwrap()).collect()
    }

    #[tokio::test]
    async fn good_tokens_pass_every_step() {
        let key = "a-secret-of-the-test";
        let connects = account(&hs256(key, &json!({ "sub": "42", "exp": NOW + 60 }))).await;
        assert_eq!(verdicts(&connects), [true; 6]);
        assert_eq!(connects["summary"], r#"Good: it connects user "42", for 60 s more."#);
        let subscribes = account(&hs256(key, &json!({ "sub": "42", "channel": "news" }))).await;
        assert_eq!(verdicts(&subscribes), [true; 6]);
        assert!(subscribes["summary"].as_str().unwrap().contains(r#"subscribes user "42" to "news""#));
    }

    #[tokio::test]
    async fn a_fault_stands_at_its_step_with_what_to_do() {
        let key = "a-secret-of-the-test";
        for (token, reason, steps) in [
            ("a.b".to_owned(), "malformed:token", 1),
            (hs256("another key", &json!({ "sub": "42" })), "signature_mismatch", 3),
            (hs256(key, &json!({ "sub": 42 })), "claim_type:sub", 4),
            (hs256(key, &json!({ "sub": "42", "exp": NOW - 60 })), "expired", 5),
            (hs256(key, &json!({ "sub": "42", "b64info": "%" })), "malformed:b64info", 6),
        ] {
            let account = account(&token).await;
            assert_eq!(account["reason"], reason);
            let verdicts = verdicts(&account);
            assert_eq!(verdicts.len(), steps, "{reason}");
            assert!(verdicts[..steps - 1].iter().all(|ok| *ok) && !verdicts[steps - 1], "{reason}");
            assert!(!account["fix"].as_str().unwrap().is_empty());
            assert!(!account.to_string().contains(key));
        }
    }
}
