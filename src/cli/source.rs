//! The argument that names a source.

use std::ffi::OsStr;

use andon::capture::SourceUri;
use clap::{
    Arg, Command, Error,
    builder::TypedValueParser,
    error::{ErrorKind, Result},
};

/// Reads a source. Its errors do not repeat the text, as clap's own do: a password may stand in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceParser;

impl TypedValueParser for SourceParser {
    type Value = SourceUri;

    fn parse_ref(&self, _command: &Command, _arg: Option<&Arg>, value: &OsStr) -> Result<SourceUri> {
        let refuse = |why: &str| Error::raw(ErrorKind::ValueValidation, format!("{}\n", super::one_line(why)));
        let text = value.to_str().ok_or_else(|| refuse("the source is not UTF-8; name it otherwise"))?;
        text.parse().map_err(|error: anyhow::Error| refuse(&format!("{error:#}")))
    }
}
