//! Personal channels of users who log in, and of those who are there when the options change.

use super::{ActiveConfig, RefusalLog};
use crate::auth::reason::{Reason, Refusal, Use};
use crate::policy::server_side::{Personal, PersonalFault, personal};
use spinward::enforce::{Judge, Verdict};
use spinward::wire::code::DisconnectCode;
use std::sync::Arc;

/// The section of options about personal channels.
pub(super) const PERSONAL: &str = "client.subscribe_to_user_personal_channel";

/// The personal channel of a user, if users have one.
///
/// # Errors
/// The id of the user makes it no channel of that user alone.
pub(crate) fn personal_channel(active: &ActiveConfig, user: &str) -> Result<Option<Personal>, Refusal> {
    let Some(namespace) = &active.settings.personal else { return Ok(None) };
    personal(&active.rules, namespace, user).map_err(|fault| {
        let syntax = active.rules.registry.syntax();
        let (boundary, mark, separator) =
            (&syntax.namespace_boundary, &syntax.user_boundary, &syntax.user_separator);
        let (reason, because, fix) = match fault {
            PersonalFault::Namespace if namespace.is_empty() => (
                Reason::PersonalChannelUnknown,
                format!("the user id has {boundary:?} in it"),
                format!(
                    "set {PERSONAL}.personal_channel_namespace: {boundary:?} in user ids does no harm then; or give \
                     users ids without it"
                ),
            ),
            PersonalFault::Namespace => (
                Reason::PersonalChannelUnknown,
                format!("the user id or the namespace has {boundary:?} in it"),
                format!("give users ids without {boundary:?}, or set another channel.namespace_boundary"),
            ),
            PersonalFault::Users => (
                Reason::PersonalChannelShared,
                format!("the user id has {mark:?} or {separator:?} in it"),
                format!(
                    "set {PERSONAL}.personal_channel_namespace to a namespace without allow_user_limited_channels; or \
                     give users ids without {mark:?} and {separator:?}"
                ),
            ),
            PersonalFault::Boundary => (
                Reason::PersonalChannelShared,
                "the user id alone would be the name".to_owned(),
                "set channel.user_boundary".to_owned(),
            ),
        };
        let detail = format!("the user cannot have a personal channel: {fault}, since {because}");
        Refusal::new(reason, detail, fix)
    })
}

/// A rule that closes the connections of users who cannot have a personal channel by the active options. `None` if
/// there are no such users: whether a name lists users is an option of its namespace, which a reload may change.
#[must_use]
pub fn personal_rule(active: Arc<ActiveConfig>, refusals: Arc<RefusalLog>) -> Option<Judge> {
    let namespace = active.settings.personal.as_ref()?;
    let name = active.rules.registry.syntax().personal_channel(namespace, "");
    let found = active.rules.registry.resolve(&name).namespace?;
    if !found.options().allow_user_limited_channels {
        return None;
    }
    Some(Judge::new(move |identity| match personal_channel(&active, &identity.user) {
        Ok(_) => Verdict::Keep,
        Err(refusal) => {
            let code = DisconnectCode::PERMISSION_DENIED;
            refusals.token(Use::Connect, &identity.user, "", &refusal, code.code);
            Verdict::Disconnect(code)
        }
    }))
}
