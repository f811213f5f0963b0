//! What reads: the settings ask for a device and a kernel, and the machine has them or not.

use super::{Candle, Encoder, Int8, Kernel, MiniLm, Stored};
use crate::understanding::quantise;
use candle_core::{DType, Device, Result, bail};

/// A device that is there, ready to take an encoder.
#[derive(Clone, Debug)]
pub enum Compute {
    Cpu(Kernel),
    /// In sixteen-bit floats. Outside the promise that a text gets the same bits in any company.
    Gpu(Device),
}

impl Default for Compute {
    fn default() -> Self {
        Self::Cpu(Kernel::best())
    }
}

impl Compute {
    /// `device` is `cpu` or `cuda:` and a number, `kernel` one of the CPU's. A GPU that is not there is told in the
    /// log, and the CPU reads.
    ///
    /// # Errors
    /// What is wrong with the names.
    pub fn named(device: &str, kernel: Option<&str>) -> std::result::Result<Self, String> {
        let cpu = match kernel {
            None => Kernel::best(),
            Some(name) => Kernel::named(name).ok_or_else(|| {
                let here: Vec<&str> = Kernel::here().into_iter().map(Kernel::as_str).collect();
                format!("`kernel`: this machine has no kernel `{name}`, but {}", here.join(", "))
            })?,
        };
        let number = device.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        match (device, number) {
            ("cpu", _) => Ok(Self::Cpu(cpu)),
            (_, Some(number)) => Ok(gpu(number).map_or(Self::Cpu(cpu), Self::Gpu)),
            _ => Err(format!("`device`: `{device}` is neither cpu nor cuda: and a number, such as cuda:0")),
        }
    }

    /// Pieces of a batch that suit it.
    pub const fn pieces(&self) -> usize {
        match self {
            Self::Cpu(_) => 128,
            Self::Gpu(_) => 16_384,
        }
    }

    /// Takes the encoder's weights away from what was stored.
    pub(in crate::understanding) fn encoder(&self, stored: &mut Stored) -> Result<Box<dyn Encoder>> {
        match self {
            Self::Cpu(kernel) => {
                let encoder = Int8::new(stored, *kernel)?;
                if encoder.heads() != MiniLm::HEADS {
                    bail!(
                        "the encoder has {} attention heads where {} are needed",
                        encoder.heads(),
                        MiniLm::HEADS
                    );
                }
                Ok(Box::new(encoder))
            }
            Self::Gpu(device) => {
                let encoder = stored.encoder();
                Ok(Box::new(Candle::new(quantise::full(&encoder)?, device, DType::BF16)?))
            }
        }
    }
}

fn gpu(number: usize) -> Option<Device> {
    if !cfg!(feature = "cuda") {
        tracing::warn!("this program was built without GPUs; the CPU reads");
        return None;
    }
    match Device::new_cuda(number) {
        Ok(device) => Some(device),
        Err(error) => {
            // The first line; what follows is a trace of calls.
            let problem = error.to_string();
            let problem = problem.lines().next().unwrap_or_default();
            tracing::warn!(gpu = number, problem, "the GPU cannot be used; the CPU reads");
            None
        }
    }
}
