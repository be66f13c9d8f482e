//! Tells the program which commit it was built from; with the feature `cuda`, compiles the kernels.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// PTX for the oldest card that CUDA 13 knows (newer ones compile it when it is loaded), machine
/// code for A100 and H100.
const TARGETS: [&str; 3] =
    ["arch=compute_75,code=compute_75", "arch=compute_80,code=sm_80", "arch=compute_90,code=sm_90"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // In a linked worktree .git is a file: cargo would run this every time.
    for path in [".git/HEAD", ".git/refs/heads"].into_iter().filter(|path| Path::new(path).exists())
    {
        println!("cargo:rerun-if-changed={path}");
    }
    let commit = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or("unknown".to_owned(), |text| text.trim().to_owned());
    println!("cargo:rustc-env=VOXELCAST_COMMIT={commit}");
    if env::var_os("CARGO_FEATURE_CUDA").is_some()
        && let Err(problem) = compile_kernels()
    {
        println!("cargo::error=feature cuda: {problem}");
    }
}

/// One fatbin a file of kernels/, and the table that embeds them.
fn compile_kernels() -> Result<(), String> {
    for name in ["CUDA_HOME", "CUDA_PATH", "NVCC", "NVCC_CCBIN", "XDG_CACHE_HOME"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rerun-if-changed=kernels");
    let nvcc = find_nvcc()?;
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|e| e.to_string())?);
    let entries = std::fs::read_dir("kernels").map_err(|e| format!("kernels/: {e}"))?;
    let mut sources: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "cu"))
        .collect();
    sources.sort();
    let mut table = String::from("&[\n");
    for source in sources {
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let fatbin = out.join(format!("{name}.fatbin"));
        compile(&nvcc, &source, &fatbin)?;
        let _ = writeln!(table, "    ({name:?}, include_bytes!({:?})),", fatbin.display());
    }
    table += "]\n";
    std::fs::write(out.join("fatbins.rs"), table).map_err(|e| e.to_string())
}

fn compile(nvcc: &Path, source: &Path, fatbin: &Path) -> Result<(), String> {
    let mut command = Command::new(nvcc);
    // No fast-math: same input, same bits, and NaN stays NaN.
    command.args([
        "-O3",
        "-std=c++17",
        "-lineinfo",
        "--compress-mode=size",
        "-Ikernels",
        "--fatbin",
    ]);
    for target in TARGETS {
        command.args(["-gencode", target]);
    }
    if let Ok(compiler) = env::var("NVCC_CCBIN") {
        command.args(["-ccbin", &compiler]);
    }
    command.arg("-o").arg(fatbin).arg(source);
    let status = command.status().map_err(|e| format!("cannot run {}: {e}", nvcc.display()))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("nvcc failed on {}", source.display())),
    }
}

/// $NVCC, a toolkit that the environment names, what scripts/setup-cuda brought, the usual place,
/// the path.
fn find_nvcc() -> Result<PathBuf, String> {
    let home = |name: &str| env::var_os(name).map(PathBuf::from);
    if let Some(nvcc) = home("NVCC") {
        return Ok(nvcc);
    }
    let cache = home("XDG_CACHE_HOME").or_else(|| home("HOME").map(|home| home.join(".cache")));
    let brought = cache.map(|cache| cache.join("voxelcast/cuda-13.0/site/nvidia/cu13"));
    let toolkits = [home("CUDA_HOME"), home("CUDA_PATH"), brought, Some("/usr/local/cuda".into())];
    let in_path = env::var_os("PATH").unwrap_or_default();
    let candidates = toolkits
        .into_iter()
        .flatten()
        .map(|home| home.join("bin/nvcc"))
        .chain(env::split_paths(&in_path).map(|folder| folder.join("nvcc")));
    let mut looked = Vec::new();
    for candidate in candidates {
        if candidate.is_file() {
            return Ok(candidate);
        }
        looked.push(candidate.display().to_string());
    }
    looked.truncate(4);
    Err(format!(
        "no nvcc found (looked at {}, …); run eval \"$(scripts/setup-cuda)\", with a CUDA toolkit \
         13 in CUDA_HOME where it should not come from PyPI",
        looked.join(", ")
    ))
}
