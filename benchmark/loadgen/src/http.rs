use serde_json::Value;
use crate::{Result,options::Options};
pub fn run(_: &mut Options)->Result<Value>{unreachable!()}
