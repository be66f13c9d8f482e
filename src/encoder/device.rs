//! Where candle computes.

use crate::backend::device::Device;
use crate::error::Result;
use crate::reporter::Reporter;

/// candle's name for the device that was taken; the CPU, with a note, where the choice was left to
/// the program (`is_auto`) and candle cannot use the card.
///
/// # Errors
/// `Error::Device` (exit 4) for a card that was asked for and that candle cannot use.
pub fn language_device(
    device: &Device,
    is_auto: bool,
    reporter: &dyn Reporter,
) -> Result<candle_core::Device> {
    match candle_device(device) {
        Err(problem) if is_auto => {
            reporter.note(&format!("language models: cpu instead ({problem})"));
            Ok(candle_core::Device::Cpu)
        }
        other => other,
    }
}

/// candle's name for the device that was taken.
///
/// # Errors
/// `Error::Device` (exit 4) for a card that candle cannot use.
fn candle_device(device: &Device) -> Result<candle_core::Device> {
    match device {
        Device::Cpu => Ok(candle_core::Device::Cpu),
        #[cfg(feature = "cuda")]
        Device::Cuda { ordinals, .. } => {
            let ordinal = ordinals.first().copied().unwrap_or(0);
            // A stream of its own: candle's other choice is one for each thread that asks.
            let opened = candle_core::Device::new_cuda_with_stream(ordinal);
            opened.map_err(|e| crate::error::Error::Device {
                device: device.to_string(),
                problem: format!("language models cannot use it: {e}"),
                hint: "use --device cpu".into(),
            })
        }
    }
}
