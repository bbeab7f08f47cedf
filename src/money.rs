//! Amounts of money as people write them, and as whole minor units (cents), in which sums are exact.

/// The minor units of a decimal text: `"1.25"` with 2 decimals is 125. A sign `-` may stand in front; fewer decimals than the
/// currency has are as good as zeros.
///
/// # Errors
/// A sentence that names the text, where it is no decimal number with a point, has more decimals than the currency, or is
/// beyond what 64 bits hold.
pub fn minor_units(text: &str, decimals: u8) -> Result<i64, String> {
    let example = || decimal_text(125, decimals);
    let wrong = || format!("{text:?} is no amount; write digits with a point, as in \"{}\"", example());
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, part) = match digits.split_once('.') {
        Some((_, "")) => return Err(wrong()),
        Some(halves) => halves,
        None => (digits, ""),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(part) {
        return Err(wrong());
    }
    let Some(missing) = usize::from(decimals).checked_sub(part.len()) else {
        let most = if decimals == 0 { "none".to_owned() } else { format!("at most {decimals}") };
        return Err(format!("{text:?} has {} decimals, and the currency has {most}; round it", part.len()));
    };
    let zeros = std::iter::repeat_n(b'0', missing);
    let mut minor = 0_i64;
    for digit in whole.bytes().chain(part.bytes()).chain(zeros) {
        let digit = i64::from(digit - b'0');
        // Counted downwards where it is below zero: there is one number more on that side.
        let next = minor.checked_mul(10).and_then(|minor| minor.checked_add(if negative { -digit } else { digit }));
        minor = next.ok_or_else(|| format!("{text:?} is more than can be added up; write a smaller amount"))?;
    }
    Ok(minor)
}

/// Minor units as a decimal text with all decimals of the currency: 125 with 2 decimals is `"1.25"`. What
/// [`minor_units`] reads as the same.
pub fn decimal_text(minor: i64, decimals: u8) -> String {
    let decimals = usize::from(decimals);
    let sign = if minor < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Rng;

    #[test]
    fn texts_become_minor_units() {
        for (text, decimals, minor) in [
            ("1.25", 2, 125),
            ("1.2", 2, 120),
            ("1", 2, 100),
            ("0.05", 2, 5),
            ("-0.05", 2, -5),
            ("120", 0, 120),
            ("0.001", 3, 1),
            ("007.10", 2, 710),
            ("92233720368547758.07", 2, i64::MAX),
            ("-92233720368547758.08", 2, i64::MIN),
        ] {
            assert_eq!(minor_units(text, decimals), Ok(minor), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_in_a_sentence() {
        for text in [
            "", "-", ".", "1.", ".5", "1,25", "+1", " 1", "1 ", "1e2", "--1", "1.2.3", "1.-2", "€1", "0x10", "١", "NaN",
        ] {
            let told = minor_units(text, 2).unwrap_err();
            assert!(told.contains("write digits with a point, as in \"1.25\""), "{text}: {told}");
        }
        assert_eq!(
            minor_units("1.250", 2).unwrap_err(),
            "\"1.250\" has 3 decimals, and the currency has at most 2; round it"
        );
        assert_eq!(minor_units("1.5", 0).unwrap_err(), "\"1.5\" has 1 decimals, and the currency has none; round it");
        for text in ["92233720368547758.08", "-92233720368547758.09", &"9".repeat(400)] {
            assert!(minor_units(text, 2).unwrap_err().contains("write a smaller amount"), "{text}");
        }
        assert!(minor_units("1", 255).is_err());
    }

    #[test]
    fn every_amount_comes_back_from_its_text() {
        assert_eq!(
            [0, 5, -5, 125, -12_345].map(|minor| decimal_text(minor, 2)),
            ["0.00", "0.05", "-0.05", "1.25", "-123.45"]
        );
        assert_eq!((decimal_text(-7, 0), decimal_text(7, 3)), ("-7".to_owned(), "0.007".to_owned()));
        let mut rng = Rng::new(1, 1);
        for _ in 0..10_000 {
            let (minor, decimals) = (rng.bits() as i64 >> rng.below(64), rng.below(20) as u8);
            assert_eq!(minor_units(&decimal_text(minor, decimals), decimals), Ok(minor));
        }
        for minor in [i64::MIN, i64::MAX] {
            assert_eq!(minor_units(&decimal_text(minor, 18), 18), Ok(minor));
        }
    }
}
