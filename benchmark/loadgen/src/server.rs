use serde_json::Value;
use crate::{Result,options::Options};
pub fn run(_:&str,_: Options)->Result<Value>{unreachable!()}
