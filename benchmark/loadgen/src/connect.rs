use serde_json::Value;
use crate::{Result,options::Options};
pub fn run_storm(_: &mut Options)->Result<Value>{unreachable!()}
pub fn run_idle(_: &mut Options)->Result<Value>{unreachable!()}
