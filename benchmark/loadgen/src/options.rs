//! The command line: `--name value` pairs. Every mode takes the options it knows and then refuses the rest.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::{Failure, Result};

pub struct Options {
    values: BTreeMap<String, String>,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut values = BTreeMap::new();
        while let Some(argument) = arguments.next() {
            let name = argument
                .strip_prefix("--")
                .ok_or_else(|| Failure::Usage(format!("expected an option, got {argument}")))?;
            let value = arguments.next().ok_or_else(|| Failure::Usage(format!("--{name} needs a value")))?;
            values.insert(name.to_owned(), value);
        }
        Ok(Options { values })
    }

    pub fn take<T: FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.values.remove(name) else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Failure::Usage(format!("--{name} cannot be {text}"))),
        }
    }

    /// Puts an option back that another part takes as well.
    pub fn put(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }

    pub fn take_or<T: FromStr>(&mut self, name: &str, default: T) -> Result<T> {
        Ok(self.take(name)?.unwrap_or(default))
    }

    /// Like [`Options::take_or`] for a number that must not be zero.
    pub fn take_count(&mut self, name: &str, default: usize) -> Result<usize> {
        match self.take_or(name, default)? {
            0 => Err(Failure::Usage(format!("--{name} cannot be 0"))),
            count => Ok(count),
        }
    }

    pub fn take_address(&mut self) -> Result<SocketAddr> {
        let host = self.take_or("host", Ipv4Addr::LOCALHOST)?;
        let port: u16 = self.take("port")?.ok_or_else(|| Failure::Usage("--port is missing".into()))?;
        Ok(SocketAddr::from((host, port)))
    }

    /// To be called when a mode has taken everything it knows.
    pub fn finish(&self) -> Result<()> {
        match self.values.keys().next() {
            None => Ok(()),
            Some(name) => Err(Failure::Usage(format!("unknown option --{name}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Result<Options> {
        Options::parse(words.iter().map(|word| word.to_string()))
    }

    #[test]
    fn values_are_taken_once_and_leftovers_refused() {
        let mut options = options(&["--port", "80", "--sise", "3"]).unwrap();
        assert_eq!(options.take_address().unwrap().port(), 80);
        assert_eq!(options.take_or("size", 20usize).unwrap(), 20);
        assert!(options.finish().is_err());
        assert_eq!(options.take::<usize>("sise").unwrap(), Some(3));
        assert!(options.finish().is_ok());
    }

    #[test]
    fn malformed_command_lines_are_usage_failures() {
        assert!(options(&["port"]).is_err());
        assert!(options(&["--port"]).is_err());
        assert!(options(&["--port", "x"]).unwrap().take_address().is_err());
        assert!(options(&["--n", "0"]).unwrap().take_count("n", 1).is_err());
    }
}
