#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    voxelcast_fuzz::models::gguf(data);
});
