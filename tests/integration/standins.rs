//! The stand-in CUDA libraries: what they compute is right, and each thing that a card would not
//! forgive is found. Each case is a process of `tests/standins/selftest`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use super::workbench::skipped;

/// How a case has to end.
enum End {
    Passes,
    /// With this in what it prints, and a failure.
    Stops(&'static str),
}
use End::{Passes, Stops};

/// The self-test, built in one of the ways of `scripts/build-standins`; without g++ a loud line, or
/// a failure where CUDA is required.
fn selftest(mode: &str) -> Option<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".into());
    if Command::new(&compiler).arg("--version").output().is_err() {
        let required = std::env::var("VOXELCAST_REQUIRE").is_ok_and(|what| what == "cuda");
        assert!(!required, "VOXELCAST_REQUIRE=cuda: no {compiler} to build the stand-ins with");
        skipped(&format!("no {compiler} to build the CUDA stand-ins with"));
        return None;
    }
    // Tests of one process: a program that another thread's child inherited open could not run.
    static ONE_BUILD: Mutex<()> = Mutex::new(());
    let _one = ONE_BUILD.lock();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("standins-{mode}"));
    let build = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/build-standins"))
        .arg(&folder)
        .args([mode, "selftest"])
        .output()
        .expect("bash runs");
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    Some(folder.join("selftest"))
}

fn run(program: &Path, case: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program);
    // Device memory and streams are left for the process's end.
    command.arg(case).env("ASAN_OPTIONS", "detect_leaks=0");
    for name in ["DEVICES", "MEMORY", "FAIL_ALLOC", "LOG"] {
        command.env_remove(format!("VOXELCAST_STANDIN_{name}"));
    }
    command.envs(variables.iter().copied()).output().expect("the self-test runs")
}

fn check(program: &Path, case: &str, variables: &[(&str, &str)], end: &End) {
    let output = run(program, case, variables);
    let printed = String::from_utf8_lossy(&output.stderr);
    match end {
        Passes => assert!(output.status.success(), "{case}: {printed}"),
        Stops(why) => {
            assert!(!output.status.success(), "{case} was let through");
            assert!(printed.contains(why), "{case}: {printed}");
        }
    }
}

fn check_all(mode: &str, cases: &[(&str, End)]) {
    let Some(program) = selftest(mode) else { return };
    for (case, end) in cases {
        let variables: &[(&str, &str)] = if *case == "wrong_another_device_s_memory" {
            &[("VOXELCAST_STANDIN_DEVICES", "2")]
        } else {
            &[]
        };
        check(&program, case, variables, end);
    }
}

const NO_ORDER: End = Stops("no event or synchronisation orders this after");
const NOT_WRITTEN: End = Stops("never written");

#[test]
fn kernels_run_and_their_mistakes_are_found() {
    check_all(
        "checked",
        &[
            ("sums_a_block", Passes),
            ("exchanges_in_a_warp", Passes),
            ("transposes_in_dynamic_shared_memory", Passes),
            ("counts_by_atomics", Passes),
            ("warp_barrier_orders_its_warp", Passes),
            ("wrong_half_a_barrier", Stops("divergent barrier in block (0,0,0): 32 threads wait")),
            ("wrong_two_barriers", Stops("divergent barrier in block (0,0,0): thread 0 waits")),
            ("wrong_half_a_shuffle", Stops("lane 8 reads lane 16, which takes no part")),
            ("wrong_shuffle_without_all", Stops("for lane 16, which has returned")),
            ("wrong_no_barrier", NOT_WRITTEN),
            (
                "wrong_overwrite_early",
                Stops(
                    "race: read by block 0 thread 1, and no barrier since block 0 thread 0 wrote it",
                ),
            ),
            (
                "wrong_written_under_readers",
                Stops(
                    "race: written by block 0 thread 63, and no barrier since several threads read it",
                ),
            ),
            ("wrong_warp_barrier_for_a_block", Stops("race: ")),
            (
                "wrong_blocks_write_one_word",
                Stops(
                    "race: written by block 1 thread 0, and no barrier since block 0 thread 0 wrote it",
                ),
            ),
            (
                "wrong_shared_unwritten",
                Stops("byte 0: read by block 0 thread 0, was never written"),
            ),
            ("wrong_dynamic_too_far", Stops("leaves its shared memory")),
            ("wrong_store_behind", Stops("lies in no live device allocation")),
            ("wrong_red_zone", Stops("lies in no live device allocation")),
            ("wrong_odd_vectors", Stops("which is no multiple of 16")),
        ],
    );
}

#[test]
fn memory_is_checked() {
    check_all(
        "checked",
        &[
            ("copies_there_and_back", Passes),
            ("refuses_launches_that_no_card_takes", Passes),
            ("tells_the_arguments_of_a_kernel", Passes),
            ("wrong_freed_twice", Stops("is not allocated: freed before")),
            ("wrong_freed_inside", Stops("lies inside an allocation")),
            ("wrong_leak", Stops("the context goes while 512 bytes are allocated")),
            ("wrong_copy_too_long", Stops("cuMemcpyHtoD_v2: destination")),
            ("wrong_copy_to_the_host_by_mistake", Stops("is no device pointer")),
            ("wrong_read_of_unwritten", NOT_WRITTEN),
            ("wrong_read_of_half_written", Stops("byte 32 of the 64 bytes")),
            ("wrong_kernel_reads_unwritten", NOT_WRITTEN),
            ("wrong_kernel_gets_a_host_pointer", Stops("argument 0 of copy_f32")),
            ("wrong_kernel_gets_freed_memory", Stops("argument 0 of copy_f32")),
            ("wrong_arguments_in_another_order", Stops("argument 0 of copy_f32: 0x64")),
            ("wrong_argument_missing", Stops("argument 2 of copy_f32 is missing")),
            ("wrong_in_and_out_are_one", Stops("arguments 0 and 1 of copy_f32 are the same")),
            ("wrong_another_device_s_memory", Stops("belongs to another context")),
        ],
    );
}

#[test]
fn streams_are_in_order_or_stopped() {
    check_all(
        "checked",
        &[
            ("event_orders_two_streams", Passes),
            ("host_orders_two_streams", Passes),
            ("two_streams_may_read", Passes),
            ("halves_of_a_buffer_on_two_streams", Passes),
            ("frees_in_order", Passes),
            ("pinned_copy_arrives_when_waited_for", Passes),
            ("pinned_there_and_back_on_one_stream", Passes),
            ("wrong_read_before_written", NO_ORDER),
            ("wrong_written_while_read", NO_ORDER),
            ("wrong_written_while_another_read", NO_ORDER),
            ("wrong_written_twice", NO_ORDER),
            ("wrong_event_too_early", NO_ORDER),
            ("wrong_default_stream_does_not_wait", NO_ORDER),
            ("wrong_freed_while_used", NO_ORDER),
            ("wrong_freed_while_read", NO_ORDER),
            ("wrong_used_before_allocated", NO_ORDER),
            ("wrong_pinned_written_too_early", Stops("the host wrote pinned memory")),
            ("wrong_pinned_on_two_streams", Stops("pinned memory at")),
            ("wrong_pinned_freed_in_flight", Stops("is freed while")),
        ],
    );
}

#[test]
fn products_are_right_and_their_operands_checked() {
    check_all(
        "checked",
        &[
            ("sgemm_of_odd_shapes", Passes),
            ("dgemm_in_f64", Passes),
            ("batches_with_strides", Passes),
            ("tf32_rounds_its_inputs", Passes),
            ("refuses_what_cublas_refuses", Passes),
            ("wrong_gemm_too_small", Stops("cublasSgemm_v2: A")),
            ("wrong_gemm_unwritten", NOT_WRITTEN),
            ("wrong_gemm_unwritten_c", Stops("cublasSgemm_v2: C")),
            ("wrong_gemm_in_place", Stops("C lies in A or B")),
            ("wrong_gemm_out_of_order", NO_ORDER),
            ("wrong_batches_in_each_other", Stops("results of a batch lie in each other")),
        ],
    );
}

#[test]
fn the_environment_sets_devices_memory_and_failures() {
    let Some(program) = selftest("checked") else { return };
    for (case, name, value) in [
        ("counts_its_devices", "DEVICES", "3"),
        ("has_no_device", "DEVICES", "0"),
        ("tells_its_memory", "MEMORY", "1M"),
        ("fails_the_third_allocation", "FAIL_ALLOC", "3"),
        ("fails_from_the_second_allocation_on", "FAIL_ALLOC", "2+"),
    ] {
        check(&program, case, &[(&format!("VOXELCAST_STANDIN_{name}"), value)], &Passes);
        assert!(!run(&program, case, &[]).status.success(), "{name} changes nothing in {case}");
    }
    let output = run(&program, "counts_its_devices", &[("VOXELCAST_STANDIN_MEMORY", "a lot")]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("VOXELCAST_STANDIN_MEMORY=a lot"));
}

#[test]
fn without_checked_loads_and_stores_red_zones_remain() {
    check_all(
        "plain",
        &[
            ("sums_a_block", Passes),
            ("copies_there_and_back", Passes),
            ("wrong_red_zone", Stops("red zone behind the 244 bytes")),
            ("wrong_store_behind", Stops("which no live allocation holds")),
            ("wrong_read_of_unwritten", NOT_WRITTEN),
        ],
    );
}

#[test]
fn sanitizers_see_through_fibers() {
    check_all(
        "sanitize",
        &[
            ("sums_a_block", Passes),
            ("exchanges_in_a_warp", Passes),
            ("transposes_in_dynamic_shared_memory", Passes),
            ("sgemm_of_odd_shapes", Passes),
            ("wrong_dynamic_too_far", Stops("AddressSanitizer: heap-buffer-overflow")),
            ("wrong_red_zone", Stops("AddressSanitizer: use-after-poison")),
            ("wrong_static_too_far", Stops("runtime error: index 64 out of bounds")),
            ("wrong_shift", Stops("runtime error: shift exponent 32")),
            ("wrong_odd_vectors", Stops("misaligned address")),
        ],
    );
}

/// A case that no test names would prove nothing.
#[test]
fn every_case_is_named_in_a_test() {
    let Some(program) = selftest("checked") else { return };
    let output = Command::new(program).output().expect("the self-test runs");
    let here = include_str!("standins.rs");
    for case in String::from_utf8_lossy(&output.stdout).lines() {
        assert!(here.contains(&format!("\"{case}\",")), "{case}");
    }
}
