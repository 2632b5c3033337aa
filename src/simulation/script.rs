//! The script of a run: everything that peers and the program do. Together with the seed of its schedule it
//! decides all that happens.

use std::fmt;

#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// The seed of the order in which the loop, the program and the peers run.
    pub schedule: u64,
    pub system: System,
    pub route: Route,
    /// Seconds: for a request, and for a response.
    pub timeouts: (u32, u32),
    pub peers: Vec<Peer>,
    /// The program's own acts, and those of its machine.
    pub acts: Vec<(u32, Act)>,
    /// When the environment ends, and its loop with it, in milliseconds; at rest at the latest.
    pub end_of_loop: Option<u32>,
}

/// The moods of the system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct System {
    pub batches: bool,
    pub interrupted: usize,
    pub short: usize,
    pub look_us: u64,
    /// Of 1000 calls of the loop so many are followed by a step of somebody else.
    pub concurrent: usize,
}

/// The options of the `ws` route.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Route {
    pub max_payload: usize,
    pub max_backpressure: usize,
    pub close_on_limit: bool,
    pub idle_timeout: u32,
    pub send_pings: bool,
    pub compression: u16,
    /// The loop upgrades by itself.
    pub auto: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// When it connects, in milliseconds.
    pub at: u32,
    pub reads: Reads,
    /// The bytes that its connection takes each way while the other side does not read.
    pub rooms: (usize, usize),
    /// The most bytes that it sends at once, and the microseconds that it waits between two sends.
    pub cut: usize,
    pub pause_us: u32,
    pub secure: Secure,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Secure {
    Plain,
    Tls12,
    Tls13,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reads {
    Always,
    /// So many bytes each so many milliseconds.
    Slowly(usize, u32),
    Never,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Request(Request),
    /// A GET that asks for a WebSocket; the program answers after so many milliseconds.
    Upgrade {
        after: u32,
        deflate: bool,
    },
    Message(Message),
    Pings {
        count: usize,
        len: usize,
    },
    /// A close frame.
    Close {
        code: u16,
    },
    /// Bytes that belong to no message.
    Raw(Vec<u8>),
    /// The peer has ended its sending side.
    End,
    Reset,
    Wait {
        ms: u32,
    },
    /// Until everything so far has been answered.
    Await,
    /// New keys for both directions of a session of TLS 1.3.
    KeyUpdate,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub method: Method,
    pub http_1_0: bool,
    /// The client asks for the end of the connection behind the response.
    pub close: bool,
    pub body: Body,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect: bool,
    pub target: Target,
    pub answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    Get,
    Head,
    Post,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    None,
    Length(usize),
    /// So many bytes in chunks of so many.
    Chunks(usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// A handler of the program.
    Program,
    /// A declared answer, with the body of the request in it.
    Declared,
    /// A cached route. Every second of its replies is for one client, and says whose it is.
    Cached,
    Nowhere,
}

/// The program's part in a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// Milliseconds; `None`: it never answers.
    pub after: Option<u32>,
    pub how: How,
    /// It asks for the body, and waits for all of it.
    pub reads: bool,
    /// It pauses the body for so many milliseconds at its first part.
    pub pauses: u32,
    pub close: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    Whole(usize),
    /// So many chunks of so many bytes.
    Chunks(usize, usize),
    Try(usize),
    /// 204.
    Nothing,
    /// The program closes the connection, after so many bytes of a chunk.
    Cut(usize),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub len: usize,
    pub binary: bool,
    /// Frames of the message; between them are pings.
    pub frames: usize,
    pub deflated: bool,
    pub then: Vec<Do>,
}

/// An act of the program on a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Do {
    Send { len: usize, binary: bool, deflate: bool },
    Fragments { count: usize, len: usize, deflate: bool },
    Ping,
    Publish { topic: usize, len: usize, deflate: bool },
    Join(usize),
    Leave(usize),
    End(u16),
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// So many messages for the subscribers of a topic.
    Publish {
        topic: usize,
        len: usize,
        count: usize,
        deflate: bool,
    },
    CloseApp,
    /// It listens again.
    Listen,
    CloseListener,
    /// The handler of requests is replaced by another that does the same.
    Replace,
    /// The loop does not run for so many milliseconds; everybody else does.
    Freeze {
        ms: u32,
    },
    /// The program does nothing for so many milliseconds.
    Busy {
        ms: u32,
    },
    /// There is no file descriptor for the next connections.
    NoDescriptors {
        accepts: usize,
    },
    /// The program hands over commands as fast as the loop executes them, so many batches.
    Refill {
        batches: usize,
    },
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "schedule {}, {:?}", self.schedule, self.system)?;
        writeln!(f, "timeouts {:?}, {:?}", self.timeouts, self.route)?;
        for (ms, act) in &self.acts {
            writeln!(f, "at {ms} ms: {act:?}")?;
        }
        if let Some(ms) = self.end_of_loop {
            writeln!(f, "at {ms} ms: the loop ends")?;
        }
        for (number, peer) in self.peers.iter().enumerate().filter(|(_, peer)| !peer.steps.is_empty()) {
            let Peer { at, reads, rooms, cut, pause_us, secure, steps } = peer;
            writeln!(
                f,
                "peer {number} at {at} ms, {secure:?}: reads {reads:?}, rooms {rooms:?}, sends {cut} bytes at once, pauses {pause_us} µs"
            )?;
            for (index, step) in steps.iter().enumerate() {
                writeln!(f, "  {index}: {step:?}")?;
            }
        }
        Ok(())
    }
}
