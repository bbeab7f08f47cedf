//! The twin of the demo in a build without the embedded broker.

use std::path::Path;

use andon::capture::SourceUri;

use super::WrongUse;

/// Says that there is none.
pub(super) fn run(_model: Option<&Path>, _source: Option<&SourceUri>) -> anyhow::Result<()> {
    Err(WrongUse::error("this build has no demo; pass --config FILE"))
}
