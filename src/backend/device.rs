//! Which device does the work; chosen at run time, never silently.

use std::fmt;

use crate::error::{Error, Result};

/// A device that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// All cores of this machine.
    Cpu,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
        }
    }
}

/// The device for `--device`: `auto`, `cpu`, `cuda` or `cuda:N`, and why it was taken.
///
/// # Errors
/// `Error::Usage` (exit 2) for any other word, `Error::Device` (exit 4) for a card that cannot be
/// used: never a silent fallback.
pub fn choose(wanted: &str) -> Result<(Device, &'static str)> {
    const NO_CUDA: &str = "this voxelcast was built without CUDA";
    match wanted {
        "cpu" => Ok((Device::Cpu, "as asked")),
        "auto" => Ok((Device::Cpu, NO_CUDA)),
        _ if wanted == "cuda" || is_card(wanted) => Err(Error::Device {
            device: wanted.into(),
            problem: NO_CUDA.into(),
            hint: "use --device cpu, or auto".into(),
        }),
        _ => Err(Error::Usage {
            place: "--device".into(),
            problem: format!("expected auto, cpu, cuda or cuda:N, got {wanted:?}"),
            hint: "auto takes a card where there is one".into(),
        }),
    }
}

fn is_card(wanted: &str) -> bool {
    wanted.strip_prefix("cuda:").is_some_and(|n| n.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_that_is_not_there_is_an_error_and_auto_says_why() {
        assert_eq!(choose("cpu").unwrap().0, Device::Cpu);
        assert!(choose("auto").unwrap().1.contains("without CUDA"));
        for card in ["cuda", "cuda:0"] {
            assert_eq!(choose(card).unwrap_err().exit_code(), 4);
        }
        for nonsense in ["gpu", "cuda:", "cuda:x", ""] {
            assert_eq!(choose(nonsense).unwrap_err().exit_code(), 2);
        }
    }
}
