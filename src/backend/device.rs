//! Which device does the work; chosen at run time, never silently.

use std::fmt;

use crate::error::{Error, Result};

/// Devices that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// All cores of this machine.
    Cpu,
    /// NVIDIA cards; voxel tiles are dealt over them.
    #[cfg(feature = "cuda")]
    Cuda {
        /// N in `cuda:N`, at least one.
        ordinals: Vec<usize>,
        /// Of the denominators' products.
        precision: Precision,
    },
}

/// Instructions that f32 products take on this processor; with others the last bits of results
/// differ.
pub fn cpu_kind() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        let has_512 = is_x86_feature_detected!("avx512f");
        match (has_512, is_x86_feature_detected!("avx2"), crate::product::amx::is_available()) {
            (true, _, true) => "avx512+amx",
            (true, _, false) => "avx512",
            (false, true, _) => "avx2",
            (false, false, _) => "x86_64",
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH
}

/// Precision of the products that only denominators need; everything else is f32 or f64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Products of f32.
    #[default]
    F32,
    /// Factors rounded to TF32 (10 bits) in the products of the alpha basis: tensor cores.
    Tf32,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            #[cfg(feature = "cuda")]
            Device::Cuda { ordinals, precision } => {
                let ordinals: Vec<String> = ordinals.iter().map(usize::to_string).collect();
                write!(f, "cuda:{}", ordinals.join(","))?;
                if *precision == Precision::Tf32 { f.write_str(" tf32") } else { Ok(()) }
            }
        }
    }
}

impl std::str::FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Self::F32),
            "tf32" => Ok(Self::Tf32),
            _ => Err(Error::Usage {
                place: "--precision".into(),
                problem: format!("expected f32 or tf32, got {text:?}"),
                hint: "tf32 rounds the factors of the denominators' products".into(),
            }),
        }
    }
}

/// The device for `--device`: `auto`, `cpu`, `cuda`, `cuda:N` or `cuda:N,M`, and why it was taken.
///
/// # Errors
/// `Error::Usage` (exit 2) for any other word, and for `tf32` on the CPU; `Error::Device` (exit 4)
/// for a card that cannot be used: never a silent fallback.
pub fn choose(wanted: &str, precision: Precision) -> Result<(Device, String)> {
    let (device, reason) = match wanted {
        "cpu" => (Device::Cpu, "as asked".to_owned()),
        "auto" => card_device(None, precision).unwrap_or_else(|problem| (Device::Cpu, problem)),
        _ => match cards_named(wanted) {
            Some(ordinals) => {
                let (device, name) =
                    card_device(Some(&ordinals), precision).map_err(|problem| Error::Device {
                        device: wanted.into(),
                        problem,
                        hint: "use --device cpu, or auto".into(),
                    })?;
                (device, format!("{name}, as asked"))
            }
            None => {
                return Err(Error::Usage {
                    place: "--device".into(),
                    problem: format!(
                        "expected auto, cpu, cuda, cuda:N or cuda:N,M, got {wanted:?}"
                    ),
                    hint: "auto takes a card where there is one".into(),
                });
            }
        },
    };
    match (&device, precision) {
        (Device::Cpu, Precision::Tf32) => Err(Error::Usage {
            place: "--precision".into(),
            problem: format!("the CPU engine has no tf32 ({reason})"),
            hint: "leave it out, or name a card with --device".into(),
        }),
        _ => Ok((device, reason)),
    }
}

#[cfg(feature = "cuda")]
fn card_device(
    ordinals: Option<&[usize]>,
    precision: Precision,
) -> std::result::Result<(Device, String), String> {
    // `cuda` alone names no card.
    let named = ordinals.filter(|ordinals| !ordinals.is_empty());
    let cards = super::gpu::cards::choose(named)?;
    let names: Vec<&str> = cards.iter().map(|card| card.name.as_str()).collect();
    let ordinals = cards.iter().map(|card| card.ordinal).collect();
    Ok((Device::Cuda { ordinals, precision }, names.join(", ")))
}

#[cfg(not(feature = "cuda"))]
fn card_device(_: Option<&[usize]>, _: Precision) -> std::result::Result<(Device, String), String> {
    Err("this voxelcast was built without CUDA".into())
}

/// `cuda`: none named; `cuda:0,1`: those, each once.
fn cards_named(wanted: &str) -> Option<Vec<usize>> {
    if wanted == "cuda" {
        return Some(Vec::new());
    }
    let ordinals: Option<Vec<usize>> = wanted
        .strip_prefix("cuda:")?
        .split(',')
        .map(|n| n.parse::<u16>().ok().map(usize::from))
        .collect();
    let mut once = ordinals.clone()?;
    once.sort_unstable();
    once.dedup();
    ordinals.filter(|ordinals| ordinals.len() == once.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_that_is_not_there_is_an_error_and_auto_says_why() {
        assert_eq!(choose("cpu", Precision::F32).unwrap().0, Device::Cpu);
        if cfg!(not(feature = "cuda")) {
            assert!(choose("auto", Precision::F32).unwrap().1.contains("without CUDA"));
        }
        // No machine has 9,000 cards.
        for card in ["cuda:9000", "cuda:9000,9001"] {
            assert_eq!(choose(card, Precision::F32).unwrap_err().exit_code(), 4);
        }
        for nonsense in ["gpu", "cuda:", "cuda:x", "cuda:0,", "cuda:1,1", ""] {
            assert_eq!(choose(nonsense, Precision::F32).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn tf32_is_refused_where_nothing_would_heed_it() {
        let error = choose("cpu", Precision::Tf32).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("no tf32"), "{error}");
        assert_eq!("tf32".parse::<Precision>().unwrap(), Precision::Tf32);
        assert_eq!("f16".parse::<Precision>().unwrap_err().exit_code(), 2);
    }
}
