#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| uws_rs_fuzz::connection::run(data));
