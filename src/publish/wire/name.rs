//! Which names can stand in a topic.

/// Why a name cannot stand in a topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Other characters than the ones that are safe in topics, file names and URLs alike.
    #[error("the id {0:?} is not usable; write it with a-z, 0-9, _ and - only")]
    Id(String),
    /// A word that stands at the same place of a topic.
    #[error("the id {0:?} is reserved; choose another")]
    Reserved(String),
    /// A prefix that makes no topic.
    #[error("the prefix {0:?} is not usable; write levels parted by single /, without +, # and $")]
    Prefix(String),
}

/// Checks the id of a device, camera, model or rule.
///
/// # Errors
/// Where it has other characters than `a-z`, `0-9`, `_` and `-`, none, or is reserved.
pub fn check_id(id: &str) -> Result<(), InvalidName> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if id.is_empty() || !id.bytes().all(allowed) {
        Err(InvalidName::Id(id.into()))
    } else if matches!(id, "cmd" | "status") {
        Err(InvalidName::Reserved(id.into()))
    } else {
        Ok(())
    }
}

/// Checks what topics begin with.
///
/// # Errors
/// Where it makes no topic: it is empty, has empty levels, wildcards, or begins with `$`.
pub fn check_prefix(prefix: &str) -> Result<(), InvalidName> {
    if prefix.starts_with('$') || prefix.contains(['+', '#', '\0']) || prefix.split('/').any(str::is_empty) {
        return Err(InvalidName::Prefix(prefix.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_make_no_topic_are_refused() {
        for id in ["in", "cam_2", "a-b", "0", "gap"] {
            assert_eq!(check_id(id), Ok(()), "{id}");
        }
        for id in ["", "In", "a b", "a/b", "+", "#", "kamera-ü", "a\0"] {
            assert_eq!(check_id(id), Err(InvalidName::Id(id.into())), "{id}");
        }
        for id in ["cmd", "status"] {
            assert_eq!(check_id(id), Err(InvalidName::Reserved(id.into())), "{id}");
        }
        for prefix in ["", "/a", "a/", "a//b", "a/+", "#", "$SYS/a"] {
            assert_eq!(check_prefix(prefix), Err(InvalidName::Prefix(prefix.into())), "{prefix}");
        }
        assert_eq!(check_prefix("plant/hall 2/andon"), Ok(()));
    }
}
