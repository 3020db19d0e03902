//! What can be asked of a rollout now, and why not: the engine is asked about each command on a copy of all it knows.

use serde_json::{Value, json};

use super::caller::Caller;
use crate::config::schema::Role;
use crate::control::Trial;
use crate::rollout::command::{Actor, Answer, Command};

/// Every command, for whoever asks; as many as there are, in this order.
pub(super) fn actions(trial: &Trial, caller: &Caller, is_read_only: bool) -> Vec<Value> {
    let actor = caller.actor("", caller.groups.clone());
    let commands = [
        ("promote", Some(Command::Promote)),
        ("promote-full", Some(Command::PromoteFull)),
        ("pause", Some(Command::Pause)),
        ("resume", Some(Command::Resume)),
        ("rollback", Some(Command::Rollback { cohort: None, is_gradual: false })),
        ("retry", Some(Command::Retry)),
        ("approve", Some(Command::Approve)),
        ("skip", Some(Command::Skip)),
        ("set-weight", trial.weight_as_it_is()),
    ];
    let action = |(name, command): (&str, Option<Command>)| {
        let reason = match command {
            _ if is_read_only => Some("this door is read-only: `admin.readOnly` of the file".to_owned()),
            _ if caller.role < Role::Operator => Some(format!("this needs the role {}", Role::Operator)),
            Some(command) => why_not(trial, &actor, &command),
            None => Some("the service has no rollout".to_owned()),
        };
        json!({ "name": name, "enabled": reason.is_none(), "reason": reason })
    };
    commands.into_iter().map(action).collect()
}

/// What is so already needs no asking either.
fn why_not(trial: &Trial, actor: &Actor, command: &Command) -> Option<String> {
    match trial.ask(actor, command)? {
        Answer::Done(_) => None,
        Answer::Unchanged(text) => (!matches!(command, Command::SetWeight { .. })).then_some(text),
        Answer::Refused(_, refusal) => Some(refusal.to_string()),
    }
}
