//! Messages to and from a program's standard input and output: a header, JSON, and blobs of bytes.

use std::io::{BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::child::{how, last_words};

/// What stands before each message on the program's standard output, where drivers chatter too.
const MARK: &[u8] = b"\0tlite\0\n";
/// How long a program may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// How a program ended.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    /// By itself, and how.
    Died(String),
    /// It did not answer in this time, and was ended.
    Hung(Duration),
}

impl Ended {
    pub fn why(&self) -> String {
        match self {
            Self::Died(how) => format!("the runner ended with {how}"),
            Self::Hung(after) => format!("the runner did not answer for {} s", after.as_secs()),
        }
    }
}

/// A program that is talked to.
pub(super) struct Wire {
    child: Child,
    /// To the thread that writes, since a program that hangs reads nothing; `None` once it is over.
    out: Option<Sender<Vec<u8>>>,
    answers: Receiver<Vec<u8>>,
    errors: Option<JoinHandle<String>>,
    said: u64,
    ended: Option<Ended>,
}

impl Wire {
    pub fn start(mut command: Command) -> std::io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (out, to_write) = channel::<Vec<u8>>();
        std::thread::spawn(move || {
            let Some(mut stdin) = stdin else { return };
            // A program that is gone is noticed when it is listened to.
            while let Ok(message) = to_write.recv()
                && stdin.write_all(&message).and_then(|()| stdin.flush()).is_ok()
            {}
        });
        let (heard, answers) = channel();
        std::thread::spawn(move || {
            let mut stdout = stdout.map(BufReader::new);
            while let Some(message) = stdout.as_mut().and_then(next_message)
                && heard.send(message).is_ok()
            {}
        });
        let errors = Some(std::thread::spawn(move || last_words(stderr)));
        Ok(Self { child, out: Some(out), answers, errors, said: 0, ended: None })
    }

    /// How many messages were sent.
    pub fn said(&self) -> u64 {
        self.said
    }

    pub fn ended(&self) -> Option<Ended> {
        self.ended.clone()
    }

    /// Sends a message; the header is an object.
    pub fn say(&mut self, mut header: Value, blobs: &[&[u8]]) {
        header["blobs"] = json!(blobs.iter().map(|b| b.len()).collect::<Vec<_>>());
        let header = header.to_string();
        let length = 4 + header.len() + blobs.iter().map(|b| b.len()).sum::<usize>();
        let mut message = Vec::with_capacity(4 + length);
        message.extend((length as u32).to_le_bytes());
        message.extend((header.len() as u32).to_le_bytes());
        message.extend(header.as_bytes());
        blobs.iter().for_each(|b| message.extend_from_slice(b));
        self.said += 1;
        if let Some(out) = &self.out {
            let _ = out.send(message);
        }
    }

    /// The next message.
    pub fn hear(&mut self, timeout: Duration) -> Result<(Value, Vec<Vec<u8>>), Ended> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let ended = match self.answers.recv_timeout(timeout) {
            Ok(message) => match split(&message) {
                Some(message) => return Ok(message),
                None => Ended::Died("a message that is none".into()),
            },
            Err(RecvTimeoutError::Timeout) => Ended::Hung(timeout),
            Err(RecvTimeoutError::Disconnected) => Ended::Died(self.last_words()),
        };
        self.end();
        self.ended = Some(ended.clone());
        Err(ended)
    }

    fn last_words(&mut self) -> String {
        let status = self.child.wait();
        let words = self.errors.take().and_then(|e| e.join().ok()).unwrap_or_default();
        let words = if words.is_empty() { words } else { format!(": {words}") };
        status.map_or_else(|e| e.to_string(), how) + &words
    }

    /// Ends the program: by the end of its input, so that it ends what it started itself, or else by
    /// force.
    fn end(&mut self) {
        self.out = None;
        let begun = Instant::now();
        while begun.elapsed() < GRACE {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                _ => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.end();
    }
}

/// The next message, with everything before its mark left out; `None` at the end.
fn next_message(out: &mut BufReader<ChildStdout>) -> Option<Vec<u8>> {
    let (mut matched, mut byte) = (0, [0]);
    while matched < MARK.len() {
        out.read_exact(&mut byte).ok()?;
        // Only its first byte may begin it again: what is lost is a mark right behind a part of one.
        matched = if byte[0] == MARK[matched] { matched + 1 } else { usize::from(byte[0] == MARK[0]) };
    }
    let mut length = [0; 4];
    out.read_exact(&mut length).ok()?;
    let length = u64::from(u32::from_le_bytes(length));
    let mut message = Vec::new();
    // Grows as bytes come: the length is only what the other side says.
    out.take(length).read_to_end(&mut message).ok()?;
    (message.len() as u64 == length).then_some(message)
}

/// Header and blobs of a message.
fn split(message: &[u8]) -> Option<(Value, Vec<Vec<u8>>)> {
    let (size, rest) = message.split_first_chunk::<4>()?;
    let (header, mut rest) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
    let header: Value = serde_json::from_slice(header).ok()?;
    let mut blobs = Vec::new();
    for length in header.get("blobs")?.as_array()? {
        let (blob, others) = rest.split_at_checked(usize::try_from(length.as_u64()?).ok()?)?;
        blobs.push(blob.to_vec());
        rest = others;
    }
    Some((header, blobs))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A program that a shell script plays: `say TEXT` says a message, its header TEXT.
    fn played(body: &str) -> Wire {
        let say = r#"say() { printf '\0tlite\0\n'; n=${#1}; b() { printf "\\$(printf %o "$1")"; };
            b $((n + 4)); printf '\0\0\0'; b $n; printf '\0\0\0%s' "$1"; }"#;
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{say}\n{body}")]);
        Wire::start(command).unwrap()
    }

    #[test]
    fn messages_are_found_among_a_driver_s_chatter() {
        let mut wire = played(
            r#"echo chatter; printf '\0tl'; say '{"opened":1,"blobs":[]}'; echo more; say '{"blobs":[]}'; cat"#,
        );
        let (first, blobs) = wire.hear(Duration::from_secs(20)).unwrap();
        assert_eq!((first["opened"].as_u64(), blobs.len()), (Some(1), 0));
        assert!(wire.hear(Duration::from_secs(20)).is_ok());
    }

    #[test]
    fn a_program_that_dies_says_how_and_one_that_hangs_is_ended() {
        let mut died = played("echo 'no more' >&2; kill -SEGV $$");
        let ended = died.hear(Duration::from_secs(20)).unwrap_err().why();
        assert_eq!(ended, "the runner ended with signal 11: no more");
        assert_eq!(died.hear(Duration::from_secs(20)).unwrap_err().why(), ended);
        let mut hung = played("cat >/dev/null");
        let ended = hung.hear(Duration::from_millis(200)).unwrap_err().why();
        assert_eq!(ended, "the runner did not answer for 0 s");
    }

    #[test]
    fn blobs_come_apart_as_they_were_put_together() {
        let mut message = Vec::from(15u32.to_le_bytes());
        message.extend(br#"{"blobs":[2,1]}"#);
        message.extend([7, 8, 9]);
        assert_eq!(split(&message).unwrap().1, [vec![7, 8], vec![9]]);
        message.pop();
        assert!(split(&message).is_none());
        assert!(split(&[255, 255, 255, 255]).is_none() && split(&[]).is_none());
    }
}
