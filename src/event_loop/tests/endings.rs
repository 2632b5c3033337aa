//! How connections end, over sockets: where one stands × the cause × what JavaScript holds × what is parked.
//!
//! The table itself is in `connection/close.rs`. Each of its combinations that can come about is brought
//! about here, many at once on one loop (`matrix`), and the same is asked of all: JavaScript has heard of the
//! end as often as the rule says, the peer sees an end and nothing but whole messages before it, the slot is
//! free once JavaScript has released it, and all accounts are at zero. Debug builds check the accounts at the
//! end of each turn, too.

mod matrix;

use matrix::Matrix;

/// An enum that knows all of its variants.
macro_rules! dimension {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum $name { $($(#[$about])* $variant,)* }

        impl $name {
            const ALL: &[$name] = &[$($name::$variant),*];
        }
    };
}

/// The causes, each with its test.
macro_rules! causes {
    ($($(#[$about:meta])* $variant:ident $test:ident,)*) => {
        dimension! { Cause { $($(#[$about])* $variant,)* } }

        $(
            #[test]
            fn $test() {
                run(Cause::$variant);
            }
        )*
    };
}

dimension! {
    /// Where the connection stands when the cause comes.
    State {
        /// Between two requests.
        Idle,
        /// A whole request that is not answered.
        InHand,
        /// The rest of the request's body is still to come.
        Body,
        /// So is that of one whose body JavaScript does not want for now.
        Paused,
        /// The kernel has refused bytes of the response.
        Streaming,
        /// A WebSocket.
        Open,
        /// A WebSocket of which the kernel has refused bytes.
        OpenBacklog,
        /// A WebSocket whose peer has ended it, which JavaScript has not released.
        AwaitingJs,
        /// It ends, once the bytes that the kernel has refused have left.
        Flushing,
        /// This side has ended it.
        Lingering,
        /// Reset by its peer.
        Closed,
    }
}

causes! {
    PeerEnd ends_by_the_end_of_the_peer,
    Reset ends_by_a_reset,
    End ends_by_an_end_of_javascript,
    Close ends_by_a_close_of_javascript,
    Timeout ends_by_a_timeout,
    Violation ends_by_a_violation,
    CloseApp ends_by_the_close_of_the_app,
    /// The app shuts down; some are left when the time is over.
    ShutDown ends_by_a_shutdown_of_the_app,
    ShutDownNow ends_by_a_shutdown_without_time,
    /// The environment ends.
    Stop ends_by_the_stop_of_the_loop,
    Panic ends_by_a_panic_of_the_loop,
}

dimension! {
    /// The object that JavaScript holds.
    Held {
        Nothing,
        Object,
        /// An object it lets go of right before the cause comes.
        LetGoBefore,
        /// An object it lets go of behind the cause, of which it has not heard.
        LetGoAfter,
        /// An object whose end it has been told of, and which it has not released.
        Told,
    }
}

dimension! {
    /// The bytes and requests that wait on the connection.
    Parked {
        Nothing,
        /// A request that was handed over ahead of the answer to the first.
        Pipelined,
        /// As many of them as there may be.
        PipelinedMost,
        /// The first bytes of a request.
        PartialRequest,
        HalfFrame,
        /// A ping to which there is no room for an answer.
        UnansweredPing,
        /// A close frame, to be sent when JavaScript has answered what came before it, or queued.
        CloseFrame,
    }
}

/// How often JavaScript is told of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Never,
    Once,
    /// Its own end and the cause meet on the way.
    AtMostOnce,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    state: State,
    cause: Cause,
    held: Held,
    parked: Parked,
}

impl Case {
    fn all(cause: Cause) -> Vec<Case> {
        let mut cases = Vec::new();
        for &state in State::ALL {
            for &held in Held::ALL {
                for &parked in Parked::ALL {
                    cases.push(Case { state, cause, held, parked });
                }
            }
        }
        cases.retain(|case| case.impossible().is_none());
        cases
    }

    // ---- which there are

    /// Why there is no such combination.
    fn impossible(self) -> Option<&'static str> {
        self.cannot_hold().or_else(|| self.cannot_park()).or_else(|| self.cannot_come())
    }

    fn cannot_hold(self) -> Option<&'static str> {
        use Held::*;
        match (self.state, self.held) {
            (State::Idle, Nothing) => None,
            (State::Idle, _) => Some("between requests JavaScript has no object"),
            (State::InHand | State::Paused, Nothing) => {
                Some("a request that waits for JavaScript has an object")
            }
            (State::Open | State::OpenBacklog, Nothing) => Some("a WebSocket has its object until it ends"),
            (State::Body | State::Streaming, Nothing) => None,
            (
                State::InHand
                | State::Body
                | State::Paused
                | State::Streaming
                | State::Open
                | State::OpenBacklog,
                Told,
            ) => Some("of an end that is none nobody is told"),
            (
                State::InHand
                | State::Body
                | State::Paused
                | State::Streaming
                | State::Open
                | State::OpenBacklog,
                Object | LetGoBefore | LetGoAfter,
            ) => None,
            (State::AwaitingJs, Told | LetGoBefore | LetGoAfter) => None,
            (State::AwaitingJs, Nothing | Object) => Some("it waits for a JavaScript that has been told"),
            (State::Flushing | State::Lingering, Nothing | Told) => None,
            (State::Flushing | State::Lingering, _) => Some("an object is told, or let go of, before that"),
            (State::Closed, Told) => None,
            (State::Closed, _) => Some("the slot has no connection any more"),
        }
    }

    fn cannot_park(self) -> Option<&'static str> {
        use State::*;
        match self.parked {
            Parked::Nothing => None,
            Parked::Pipelined | Parked::PipelinedMost => match self.state {
                InHand | Streaming if self.held != Held::Nothing => None,
                Flushing | Lingering | Closed if self.held == Held::Told => None,
                Idle | InHand | Streaming | Flushing | Lingering | Closed => {
                    Some("requests are handed over behind one that JavaScript has")
                }
                Body | Paused => Some("what follows is the body"),
                Open | OpenBacklog | AwaitingJs => Some("what follows are frames"),
            },
            Parked::PartialRequest => match self.state {
                Idle | InHand | Streaming | Flushing | Lingering => None,
                Body | Paused => Some("its bytes would be those of the body"),
                Open | OpenBacklog | AwaitingJs => Some("its bytes would be frames"),
                Closed => Some("nothing is read any more"),
            },
            Parked::HalfFrame => match (self.state, self.held) {
                (Flushing | Lingering, Held::Told) => Some("the close frame would be the rest of it"),
                (Open | OpenBacklog | AwaitingJs | Flushing | Lingering, _) => None,
                (Idle | InHand | Body | Paused | Streaming | Closed, _) => Some("it is no WebSocket"),
            },
            Parked::UnansweredPing => match self.state {
                OpenBacklog | AwaitingJs | Flushing => None,
                Open | Lingering => Some("there is room for its answer"),
                Idle | InHand | Body | Paused | Streaming | Closed => Some("it is no WebSocket"),
            },
            Parked::CloseFrame => match self.state {
                AwaitingJs | Flushing | Lingering => None,
                Open | OpenBacklog => Some("a close frame is the beginning of the end"),
                Idle | InHand | Body | Paused | Streaming | Closed => Some("it is no WebSocket"),
            },
        }
    }

    fn cannot_come(self) -> Option<&'static str> {
        let lets_go = matches!(self.held, Held::LetGoBefore | Held::LetGoAfter);
        let by_fin = self.state == State::AwaitingJs && self.parked == Parked::Nothing;
        match self.cause {
            Cause::PeerEnd | Cause::Violation if by_fin => Some("the peer has ended its side"),
            Cause::PeerEnd | Cause::Violation | Cause::Reset if self.state == State::Closed => {
                Some("there is no socket any more")
            }
            Cause::PeerEnd | Cause::Violation | Cause::Reset => None,
            Cause::End | Cause::Close if self.held == Held::Nothing => Some("JavaScript has nothing to end"),
            Cause::End if lets_go => Some("that is the end it lets go by"),
            Cause::End | Cause::Close => None,
            Cause::Timeout => match (self.state, self.held) {
                (State::InHand | State::Paused, Held::Object | Held::LetGoAfter)
                | (State::AwaitingJs, Held::Told | Held::LetGoAfter) => {
                    Some("no deadline runs while it is JavaScript's to go on")
                }
                (State::Closed, _) => Some("there is no socket any more"),
                _ => None,
            },
            Cause::CloseApp | Cause::ShutDown | Cause::ShutDownNow | Cause::Stop | Cause::Panic => None,
        }
    }

    // ---- what they are

    fn name(self) -> String {
        let Case { state, cause, held, parked } = self;
        format!("{state:?}, {cause:?}, JavaScript holds {held:?}, parked: {parked:?}")
    }

    fn is_websocket(self) -> bool {
        match self.state {
            State::Open | State::OpenBacklog | State::AwaitingJs => true,
            State::Flushing | State::Lingering => {
                matches!(self.parked, Parked::HalfFrame | Parked::UnansweredPing | Parked::CloseFrame)
            }
            State::Idle | State::InHand | State::Body | State::Paused | State::Streaming | State::Closed => {
                false
            }
        }
    }

    /// Whether the kernel has refused bytes.
    fn has_backlog(self) -> bool {
        matches!(self.state, State::Streaming | State::OpenBacklog | State::Flushing)
            || self.parked == Parked::UnansweredPing
    }

    /// Requests handed over ahead.
    fn ahead(self) -> usize {
        match self.parked {
            Parked::Pipelined => 1,
            Parked::PipelinedMost => 31,
            Parked::Nothing
            | Parked::PartialRequest
            | Parked::HalfFrame
            | Parked::UnansweredPing
            | Parked::CloseFrame => 0,
        }
    }

    /// Whether JavaScript was told of an end before the cause came.
    fn was_told(self) -> bool {
        self.held == Held::Told || self.state == State::AwaitingJs
    }

    // ---- what is to become of them

    /// The rule: once if the loop decided while JavaScript held an object, never if JavaScript decided.
    fn told(self) -> Told {
        if self.was_told() {
            return Told::Once;
        }
        if self.held == Held::Nothing {
            return Told::Never;
        }
        match self.cause {
            // JavaScript ends all of its objects itself where the app or the loop is no more.
            Cause::Close | Cause::CloseApp | Cause::Stop | Cause::Panic => Told::Never,
            // The requests behind it will not be answered, of which JavaScript is told.
            Cause::End if self.ahead() > 0 => Told::Once,
            Cause::End => Told::Never,
            Cause::ShutDown | Cause::ShutDownNow if self.held == Held::LetGoBefore => Told::Never,
            Cause::ShutDown | Cause::ShutDownNow => Told::Once,
            Cause::PeerEnd | Cause::Reset | Cause::Timeout | Cause::Violation => {
                match (self.ends_the_exchange(), self.held) {
                    (false, _) => Told::Never,
                    (true, Held::LetGoBefore) if self.cause == Cause::Timeout => Told::Never,
                    (true, Held::LetGoBefore) => Told::AtMostOnce,
                    (true, _) => Told::Once,
                }
            }
        }
    }

    /// Whether what the peer does, or fails to do, ends an exchange that JavaScript holds.
    fn ends_the_exchange(self) -> bool {
        match self.state {
            // A peer that has ended its side, or sent nonsense behind its request, still gets the response.
            State::InHand | State::Streaming => matches!(self.cause, Cause::Reset | Cause::Timeout),
            // The same, unless JavaScript asks for the rest of the body, which will not come.
            State::Paused => self.cause == Cause::Reset || self.held == Held::Object,
            State::Body | State::Open | State::OpenBacklog => true,
            State::Idle | State::AwaitingJs | State::Flushing | State::Lingering | State::Closed => false,
        }
    }

    /// Whether the loop has ended the exchange in the middle of a response, which therefore stays incomplete.
    fn is_cut(self) -> bool {
        (self.state, self.held, self.ahead()) == (State::Flushing, Held::Told, 0) && !self.is_websocket()
    }

    /// Whether whoever reads gets everything that was sent, and sees an end in order.
    fn is_orderly(self) -> bool {
        match self.cause {
            Cause::PeerEnd | Cause::End | Cause::Violation => true,
            Cause::Reset
            | Cause::Close
            | Cause::Timeout
            | Cause::CloseApp
            | Cause::ShutDown
            | Cause::ShutDownNow
            | Cause::Stop
            | Cause::Panic => false,
        }
    }
}

/// Connections of one loop: few enough that debug builds check its accounts in each turn.
const AT_ONCE: usize = 80;

fn run(cause: Cause) {
    let cases = Case::all(cause);
    let mut failures = Vec::new();
    for some in cases.chunks(AT_ONCE) {
        failures.extend(Matrix::start(cause).run(some));
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// Whoever makes one impossible, or possible, has to say so here, too.
#[test]
fn there_are_so_many_combinations() {
    let all = Cause::ALL.iter().map(|cause| Case::all(*cause).len()).sum::<usize>();
    assert_eq!(all, 833);
}
