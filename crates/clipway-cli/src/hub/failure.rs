//! What failures of the Hub mean for the user.

use clipway_hub::HubError;

use crate::failure::{COULD_NOT_RUN, Failure, INTERRUPTED, NO, chain};

/// The failure, with its exit status and hint.
pub fn failure(error: &HubError) -> Failure {
    let exit_code = match error {
        HubError::Interrupted => INTERRUPTED,
        error if error.is_trouble() => COULD_NOT_RUN,
        _ => NO,
    };
    let hint = hint(error).map(str::to_owned);
    Failure { exit_code, hint, ..Failure::no(error.code(), chain(error)) }
}

fn hint(error: &HubError) -> Option<&'static str> {
    match error {
        HubError::BadName { .. } => {
            Some("a source on the Hub is `hf-hub:OWNER/NAME` or `hf-hub:OWNER/NAME@REVISION`")
        }
        HubError::NoRepository { .. } => Some("check the name; for a private repository, set `HF_TOKEN`"),
        HubError::Gated { .. } => {
            Some("accept the terms on that page, and set `HF_TOKEN` to a token of that account")
        }
        HubError::NoFile { .. } => {
            Some("look at the repository's files; `hf://OWNER/NAME/FILE` names weights with an unusual name")
        }
        HubError::Disabled { .. } => Some("the repository's page says why; use another copy of the model"),
        HubError::NoRevision { .. } => Some("leave out the revision to use `main`"),
        HubError::BadToken { .. } | HubError::TokenFormat => {
            Some("set `HF_TOKEN` to a valid token, or run `hf auth login` again")
        }
        HubError::Forbidden { .. } => Some("use a token with more rights in `HF_TOKEN`"),
        HubError::Offline { .. } | HubError::Partial { .. } => {
            Some("run it once with the network, without `--offline` and `HF_HUB_OFFLINE`")
        }
        HubError::RateLimited { .. } => Some("wait, or set `HF_TOKEN`: accounts have a higher limit"),
        HubError::Timeout { .. } | HubError::Unreachable { .. } | HubError::Unavailable { .. } => {
            Some("run it again: what arrived is kept; `HF_ENDPOINT` chooses another server")
        }
        HubError::Answer { .. } | HubError::Json { .. } => {
            Some("check `HF_ENDPOINT`, and whether a proxy or a login page answers instead of the Hub")
        }
        HubError::Mismatch { .. } => Some("run it again; if it stays, the server's copy is damaged"),
        HubError::Moved { .. } => Some("look at what changed there, and push again"),
        HubError::Card { .. } => Some("correct the front matter of `README.md`"),
        HubError::NoCache => Some("set `HF_HOME` to a folder for the cache"),
        _ => None,
    }
}
