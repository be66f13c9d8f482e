//! `voxelcast report`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Output;
use crate::error::Result;
use crate::results::brain::write_nifti;
use crate::results::{write_figures, write_page};

/// `voxelcast report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Output folder of a finished run; report.html is written there
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Write each figure as SVG and PNG too
    #[arg(long, value_name = "DIR")]
    pub figures: Option<PathBuf>,
    /// Write each voxel's r, alpha, p-value, significance, preferred layer and past as .nii.gz too; the study names masks
    #[arg(long, value_name = "DIR")]
    pub nifti: Option<PathBuf>,
}

/// The page of a finished run again, and its figures as files.
pub fn report(args: &ReportArgs) -> Result<Output> {
    let (mut written, results) = write_page(&args.dir)?;
    if let Some(folder) = &args.figures {
        written.figures = write_figures(&results, folder)?;
    }
    if let Some(folder) = &args.nifti {
        written.nifti = write_nifti(&args.dir, &results, folder)?;
    }
    let mut text = format!("{}\n", written.report.display());
    if let Some(folder) = &args.figures {
        text += &format!("{} figures in {}\n", written.figures.len() / 2, folder.display());
    }
    if let Some(folder) = &args.nifti {
        text += &format!("{} NIfTI files in {}\n", written.nifti.len(), folder.display());
    }
    let document = json!({ "schema": "voxelcast.report/1", "report": written });
    Ok(Output { document, text })
}
