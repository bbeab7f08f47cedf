//! Attributes of nodes as numbers.

use tract_onnx::pb::NodeProto;

use super::{super::proto::attribute, Refused};

/// An integer.
pub(super) fn int(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).map(|found| found.i)
}

/// A list of integers.
pub(super) fn ints(node: &NodeProto, name: &str) -> Option<Vec<i64>> {
    attribute(node, name).map(|found| found.ints.clone())
}

/// A float.
pub(super) fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).map_or(default, |found| found.f)
}

/// A text.
pub(super) fn text(node: &NodeProto, name: &str, default: &str) -> String {
    attribute(node, name).map_or_else(|| default.to_owned(), |found| String::from_utf8_lossy(&found.s).into_owned())
}

/// Which axis a number means, counted from the end where it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Refused> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(from_start)
        .ok()
        .filter(|axis| *axis < rank)
        .ok_or_else(|| Refused::new(format!("axis {axis} of {rank} dimensions")))
}

/// Two numbers above zero, down and right.
pub(super) fn pair(node: &NodeProto, name: &str, default: [usize; 2]) -> Result<[usize; 2], Refused> {
    let Some(found) = ints(node, name) else { return Ok(default) };
    match found[..] {
        [down, right] if down > 0 && right > 0 => Ok([down as usize, right as usize]),
        _ => Err(Refused::new(format!("{name} that are not two"))),
    }
}

/// The padding of a window: above, left, below, right. `reach` is the window's size with its dilation.
pub(super) fn pads(
    node: &NodeProto,
    input: [usize; 2],
    reach: [usize; 2],
    stride: [usize; 2],
) -> Result<[usize; 4], Refused> {
    match text(node, "auto_pad", "NOTSET").as_str() {
        "NOTSET" | "" => {
            let Some(pads) = ints(node, "pads") else { return Ok([0; 4]) };
            let pads: Option<Vec<usize>> = pads.iter().map(|pad| usize::try_from(*pad).ok()).collect();
            pads.and_then(|pads| pads.try_into().ok()).ok_or_else(|| Refused::new("pads that are not four"))
        }
        "VALID" => Ok([0; 4]),
        mode @ ("SAME_UPPER" | "SAME_LOWER") => {
            let mut pads = [0; 4];
            for side in 0..2 {
                let size = input[side].div_ceil(stride[side]);
                let total = ((size - 1) * stride[side] + reach[side]).saturating_sub(input[side]);
                let less = total / 2;
                let before = if mode == "SAME_UPPER" { less } else { total - less };
                (pads[side], pads[side + 2]) = (before, total - before);
            }
            Ok(pads)
        }
        mode => Err(Refused::new(format!("auto_pad {mode}"))),
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{AttributeProto, attribute_proto::AttributeType};

    use super::*;

    fn with(attributes: &[(&str, &[i64])], auto_pad: &str) -> NodeProto {
        let list = |(name, values): &(&str, &[i64])| AttributeProto {
            name: (*name).to_owned(),
            r#type: AttributeType::Ints as i32,
            ints: values.to_vec(),
            ..AttributeProto::default()
        };
        let text = AttributeProto { name: "auto_pad".to_owned(), s: auto_pad.into(), ..AttributeProto::default() };
        let attribute = attributes.iter().map(list).chain([text]).collect();
        NodeProto { attribute, ..NodeProto::default() }
    }

    #[test]
    fn negative_axes_count_from_the_end() {
        assert_eq!([axis(-1, 4), axis(0, 4), axis(3, 4)], [Ok(3), Ok(0), Ok(3)]);
        assert!(axis(4, 4).is_err() && axis(-5, 4).is_err() && axis(0, 0).is_err() && axis(i64::MIN, 4).is_err());
    }

    #[test]
    fn pairs_are_two_numbers_above_zero() {
        let node = with(&[("two", &[3, 2]), ("one", &[3]), ("none", &[]), ("zero", &[0, 1]), ("below", &[1, -1])], "");
        assert_eq!(pair(&node, "two", [9, 9]), Ok([3, 2]));
        assert_eq!(pair(&node, "absent", [9, 9]), Ok([9, 9]));
        assert!(["one", "none", "zero", "below"].iter().all(|name| pair(&node, name, [9, 9]).is_err()));
    }

    #[test]
    fn padding_is_as_stated_or_keeps_the_size() {
        let stated = |values: &[i64]| pads(&with(&[("pads", values)], ""), [6, 7], [3, 3], [1, 1]);
        assert_eq!(stated(&[1, 2, 3, 4]), Ok([1, 2, 3, 4]));
        assert!(stated(&[1, 2]).is_err() && stated(&[1, 2, 3, -4]).is_err());
        let kept = |mode| pads(&with(&[], mode), [6, 7], [2, 3], [1, 2]);
        assert_eq!(kept("SAME_UPPER"), Ok([0, 1, 1, 1]));
        assert_eq!(kept("SAME_LOWER"), Ok([1, 1, 0, 1]));
        assert_eq!([kept("VALID"), kept("NOTSET")], [Ok([0; 4]), Ok([0; 4])]);
        assert!(kept("SAME").is_err());
    }
}
