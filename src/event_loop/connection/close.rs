//! How a connection ends: one state, and one table of what each cause makes of it.
//!
//! Two parties share a connection: the loop, which owns the socket, and JavaScript, which may have an object
//! for it. Either of them may decide on the end, and the other hears of it once. JavaScript decides by a
//! command and hears nothing; when the loop decides, JavaScript gets one `Gone` event, which it answers with
//! `Release`. The slot is free once the state is `Closed` and JavaScript is `Detached`.
//!
//! | cause | `Open` | `AwaitingJs` | `Flushing` | `Lingering` | `Closed` |
//! | --- | --- | --- | --- | --- | --- |
//! | `End`: JavaScript ends it behind what it sent | `Flushing` | `Flushing` | – | – | – |
//! | `Close`: JavaScript, or `app.close()`, closes at once | `Closed` | `Closed` | `Closed` | `Closed` | – |
//! | `Refuse`: the loop ends it behind what is queued | `Flushing`, told | `Flushing` | – | – | – |
//! | `Finish`: nothing follows by the protocol | `AwaitingJs`, told ¹ | – | – | – | – |
//! | `Abort`: a reset, a limit, a violation | `Closed`, told | `Closed` | `Closed` | `Closed` | – |
//! | `Timeout` | the protocol decides | `Closed` | `Closed` | `Closed` | – |
//! | `PeerEnd`: the peer's FIN | the protocol decides | – | – | `Closed` | – |
//! | `Sent`: the kernel has all | – | – | `Lingering` ² | – | – |
//! | `Release`: JavaScript has heard of the end | – | `Flushing` | – | – | – |
//!
//! Where JavaScript closes because the peer has ended its side before it was answered, that is an `End`: the
//! responses to earlier requests are still sent (`Http::closes_behind_responses`).
//!
//! An app that shuts down (`shutdown.rs`) ends idle connections by `Finish`, WebSockets by `Refuse`, and
//! those that are left when the time is over by `Abort`.
//!
//! JavaScript is told only if it is `Attached`. `End` and `Close` detach it if it is; if it has been told
//! already they change nothing about it, since its `Release` is still to come. `Release` detaches in every
//! state.
//!
//! ¹ `Flushing` if JavaScript has no object: there is nobody to wait for. ² `Closed` if the peer has ended
//! and everything it sent has been read: then nothing is left that a reset could take from it
//! (RFC 9112 §9.6).
//!
//! The end of the environment and a panic of the loop are no causes: there the whole loop is gone with its
//! sockets. JavaScript that is still there ends all of its objects by itself when it sees `Panic`.

/// How far the end of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Neither side has decided on an end.
    Open,
    /// The loop discards what it reads. The answers of JavaScript to earlier messages are still sent, until
    /// it releases the connection.
    AwaitingJs,
    /// This side closes once everything is sent.
    Flushing,
    /// The loop has closed its sending side, and discards bytes of the peer until that closes, too.
    Lingering,
    /// The socket is closed.
    Closed,
}

/// JavaScript's object for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsHandle {
    /// There is no object, or JavaScript is done with it.
    Detached,
    /// There is an object, or will be once JavaScript reads the queued event that makes it.
    Attached,
    /// JavaScript has been told of the end, and will release it.
    Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    End,
    Close,
    Refuse,
    Finish,
    Abort,
    Timeout,
    PeerEnd,
    Sent { peer_is_done: bool },
    Release,
}

impl Close {
    /// Whether commands of JavaScript for the peer are still executed.
    pub fn takes_commands(self) -> bool {
        matches!(self, Close::Open | Close::AwaitingJs)
    }

    /// The state after `cause`, and that of JavaScript's object. A `Gone` event is due if that became `Told`.
    pub fn after(self, cause: Cause, js: JsHandle) -> (Close, JsHandle) {
        let close = match (self, cause) {
            (Close::Closed, _) => Close::Closed,
            (_, Cause::Close | Cause::Abort) => Close::Closed,
            (Close::Open, Cause::Timeout) => Close::Open,
            (_, Cause::Timeout) => Close::Closed,
            (Close::Open, Cause::Finish) if js == JsHandle::Attached => Close::AwaitingJs,
            (Close::Open, Cause::End | Cause::Refuse | Cause::Finish) => Close::Flushing,
            (Close::AwaitingJs, Cause::End | Cause::Refuse | Cause::Release) => Close::Flushing,
            (Close::Flushing, Cause::Sent { peer_is_done: false }) => Close::Lingering,
            (Close::Flushing, Cause::Sent { peer_is_done: true }) => Close::Closed,
            (Close::Lingering, Cause::PeerEnd) => Close::Closed,
            (state, _) => state,
        };
        let js = match (cause, js) {
            (Cause::Release, _) => JsHandle::Detached,
            (Cause::End | Cause::Close, JsHandle::Attached) => JsHandle::Detached,
            (_, JsHandle::Attached) if close != Close::Open => JsHandle::Told,
            (_, js) => js,
        };
        (close, js)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [Close; 5] =
        [Close::Open, Close::AwaitingJs, Close::Flushing, Close::Lingering, Close::Closed];
    const HANDLES: [JsHandle; 3] = [JsHandle::Detached, JsHandle::Attached, JsHandle::Told];
    const CAUSES: [Cause; 10] = [
        Cause::End,
        Cause::Close,
        Cause::Refuse,
        Cause::Finish,
        Cause::Abort,
        Cause::Timeout,
        Cause::PeerEnd,
        Cause::Sent { peer_is_done: false },
        Cause::Sent { peer_is_done: true },
        Cause::Release,
    ];

    /// The table of the documentation: a row for each of `CAUSES`, `.` for a state that stays.
    const TABLE: [&str; 10] = [
        "Flushing Flushing . . .",
        "Closed Closed Closed Closed .",
        "Flushing Flushing . . .",
        "AwaitingJs . . . .",
        "Closed Closed Closed Closed .",
        ". Closed Closed Closed .",
        ". . . Closed .",
        ". . Lingering . .",
        ". . Closed . .",
        ". Flushing . . .",
    ];

    #[test]
    fn every_cause_leads_from_every_state_to_that_of_the_table() {
        for (cause, row) in CAUSES.into_iter().zip(TABLE) {
            for (state, cell) in STATES.into_iter().zip(row.split(' ')) {
                for js in HANDLES {
                    let expected = match (cell, cause, js) {
                        (".", ..) => format!("{state:?}"),
                        (_, Cause::Finish, JsHandle::Detached | JsHandle::Told) => "Flushing".into(),
                        _ => cell.into(),
                    };
                    let (after, _) = state.after(cause, js);
                    assert_eq!(format!("{after:?}"), expected, "{state:?} {cause:?} {js:?}");
                }
            }
        }
    }

    /// All states that a connection can reach, by any sequence of causes.
    fn reachable() -> Vec<(Close, JsHandle)> {
        let mut all = vec![(Close::Open, JsHandle::Detached), (Close::Open, JsHandle::Attached)];
        let mut next = 0;
        while next < all.len() {
            let (state, js) = all[next];
            // A release follows only where JavaScript was told.
            let causes = CAUSES.into_iter().filter(|cause| *cause != Cause::Release || js == JsHandle::Told);
            for reached in causes.map(|cause| state.after(cause, js)) {
                if !all.contains(&reached) {
                    all.push(reached);
                }
            }
            next += 1;
        }
        all
    }

    #[test]
    fn javascript_is_told_of_each_end_exactly_once() {
        for (state, js) in reachable() {
            // JavaScript knows of every end: it decided itself or was told.
            assert!(state == Close::Open || js != JsHandle::Attached, "{state:?}");
            assert!(state != Close::Open || js != JsHandle::Told, "told of an end that is none");
            for cause in CAUSES {
                let (_, after) = state.after(cause, js);
                let is_its_own = matches!(cause, Cause::End | Cause::Close);
                assert!(!(is_its_own && js == JsHandle::Attached && after == JsHandle::Told), "{cause:?}");
                assert!(js != JsHandle::Told || matches!(after, JsHandle::Told | JsHandle::Detached));
                assert!(js != JsHandle::Detached || after == JsHandle::Detached, "told without an object");
            }
        }
    }

    #[test]
    fn every_end_comes_to_an_end() {
        for (state, js) in reachable() {
            let (closed, told) = state.after(Cause::Timeout, js);
            assert!(
                state == Close::Open || closed == Close::Closed,
                "a deadline closes what has begun to end"
            );
            let (_, released) = closed.after(Cause::Release, told);
            assert_eq!(released, JsHandle::Detached);
            // Nothing opens again.
            for cause in CAUSES {
                assert!(
                    state == Close::Open || state.after(cause, js).0 != Close::Open,
                    "{state:?} {cause:?}"
                );
            }
        }
    }
}
