//! A feature of length 1 in few bytes.

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::encoder::normalize;

/// Hexadecimal digits of one value.
const DIGITS: usize = 4;

/// A feature scaled to length 1, in fp16: rounding costs less than 1e-7 of a cosine. Serialized as four hexadecimal digits
/// for each value.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitFeature(Vec<f16>);

impl UnitFeature {
    /// Scales a feature to length 1 and rounds it.
    pub fn of(feature: &[f32]) -> UnitFeature {
        let mut scaled = feature.to_vec();
        normalize(&mut scaled, feature.len());
        UnitFeature(scaled.into_iter().map(f16::from_f32).collect())
    }

    /// The values, of length 1 but for rounding.
    pub fn values(&self) -> Vec<f32> {
        self.0.to_f32_vec()
    }
}

impl Serialize for UnitFeature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits: String = self.0.iter().map(|value| format!("{:04x}", value.to_bits())).collect();
        serializer.serialize_str(&digits)
    }
}

impl<'de> Deserialize<'de> for UnitFeature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<UnitFeature, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let bad = || D::Error::custom("a feature is four hexadecimal digits for each value");
        let value = |four: &[u8]| {
            let four = std::str::from_utf8(four).ok().filter(|four| !four.starts_with('+'));
            four.and_then(|four| u16::from_str_radix(four, 16).ok()).map(f16::from_bits).ok_or_else(bad)
        };
        let (fours, []) = digits.as_bytes().as_chunks::<DIGITS>() else { return Err(bad()) };
        fours.iter().map(|four| value(four)).collect::<Result<_, _>>().map(UnitFeature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::cosine;

    #[test]
    fn a_feature_comes_back_from_text_and_keeps_its_direction() {
        let feature: Vec<f32> = (0..512).map(|at| ((at * 37 % 101) as f32 - 50.0) / 7.0).collect();
        let stored = UnitFeature::of(&feature);
        assert!(1.0 - cosine(&feature, &stored.values()) < 1e-7);
        let text = serde_json::to_string(&UnitFeature::of(&[3.0, 4.0])).unwrap();
        assert_eq!(text, "\"38cd3a66\"");
        assert_eq!(serde_json::from_str::<UnitFeature>(&text).unwrap(), UnitFeature::of(&[3.0, 4.0]));
        for bad in ["\"38cd3a6\"", "\"38cdzzzz\"", "\"+8cd3a66\"", "7"] {
            assert!(serde_json::from_str::<UnitFeature>(bad).is_err(), "{bad}");
        }
    }
}
