use serde_json::Value;
use crate::{Result,options::Options};
pub fn run_publish(_: &mut Options)->Result<Value>{unreachable!()}
pub fn run_mixed(_: &mut Options)->Result<Value>{unreachable!()}
