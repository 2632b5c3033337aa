#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| uws_rs_fuzz::forwarded::run(data));
