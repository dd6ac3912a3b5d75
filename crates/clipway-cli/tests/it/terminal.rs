//! Pictures on a terminal, which is a pseudo terminal here.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, tcgetattr};

use crate::scene::Scene;

/// The question for a terminal's attributes.
const QUESTION: &[u8] = b"\x1b[c";

/// What a terminal does when it is asked.
enum Asked<'a> {
    Answers(&'a str),
    IsSilent,
    Interrupts,
}

/// What a run on a terminal gave.
struct Shown {
    status: ExitStatus,
    text: String,
    took: Duration,
}

fn said(settings: &Termios) -> String {
    format!("{:?} {:?} {:?}", settings.local_modes, settings.input_modes, settings.special_codes)
}

/// Runs `search --preview` on a terminal, and checks that its settings are afterwards as before.
fn shown(scene: &Scene, asked: &Asked<'_>) -> Shown {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo terminal");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("unlocked");
    let name = ptsname(&ours, Vec::new()).expect("a name").into_string().expect("UTF-8");
    let theirs = OpenOptions::new().read(true).write(true).open(name).expect("the other end");
    let before = tcgetattr(&theirs).expect("settings");
    let end = || Stdio::from(theirs.try_clone().expect("a copy"));
    let arguments = ["search", "--index", "all.index", "--like", "images/lion.png", "-k", "3", "--preview"];
    let mut command = scene.command(&arguments);
    command.stdin(end()).stdout(end()).stderr(Stdio::null());
    command.env("TERM", "xterm-256color").env_remove("TERM_PROGRAM").env_remove("TMUX");
    let started = Instant::now();
    let mut child = command.spawn().expect("the binary runs");
    drop(command);
    let mut ours = File::from(ours);
    let reader = std::thread::spawn({
        let (mut ours, pid) = (ours.try_clone().expect("a copy"), Pid::from_child(&child));
        let answer = match asked {
            Asked::Answers(answer) => Some((*answer).to_owned()),
            Asked::IsSilent | Asked::Interrupts => None,
        };
        let interrupts = matches!(asked, Asked::Interrupts);
        move || {
            let (mut all, mut piece, mut was_asked) = (Vec::new(), [0; 4096], false);
            // The last byte is ours: what follows the end of the run.
            while all.last() != Some(&0)
                && let Ok(count) = ours.read(&mut piece)
            {
                all.extend_from_slice(&piece[..count]);
                if !was_asked && all.windows(QUESTION.len()).any(|bytes| bytes == QUESTION) {
                    was_asked = true;
                    match &answer {
                        Some(answer) => ours.write_all(answer.as_bytes()).expect("answered"),
                        None if interrupts => kill_process(pid, Signal::INT).expect("interrupted"),
                        None => {}
                    }
                }
            }
            assert!(was_asked, "{:?}", String::from_utf8_lossy(&all));
            all
        }
    });
    let status = child.wait().expect("an end");
    let took = started.elapsed();
    let after = tcgetattr(&theirs).expect("settings");
    (&theirs).write_all(&[0]).expect("written");
    let all = reader.join().expect("read");
    drop(theirs);
    ours.flush().expect("open");
    assert_eq!(said(&after), said(&before));
    let text = String::from_utf8(all).expect("UTF-8").replace("\r\n", "\n");
    Shown { status, text, took }
}

#[test]
fn a_terminal_that_is_not_known_is_asked() {
    let scene = Scene::indexed();
    for (answer, sixels) in [("\x1b[?62;4c", 3), ("\x1b[?64;1;2;4;22c", 3), ("\x1b[?62;22c", 0)] {
        let Shown { status, text, .. } = shown(&scene, &Asked::Answers(answer));
        assert!(status.success(), "{status} {text:?}");
        // The demo's images are 128 pixels wide and high.
        assert_eq!(text.matches("\x1bP0;0;0q\"1;1;128;128#0;2;").count(), sixels, "{answer:?}");
        assert_eq!(text.contains('\u{2580}'), sixels == 0, "{answer:?}");
        assert_eq!(text.matches(". score ").count(), 3, "{answer:?}");
        assert!(!text.contains("[?6"), "the answer is not echoed: {text:?}");
    }
}

#[test]
fn a_terminal_that_does_not_answer_gets_half_blocks() {
    let Shown { status, text, took } = shown(&Scene::indexed(), &Asked::IsSilent);
    assert!(status.success() && text.contains('\u{2580}') && !text.contains("\x1bP"), "{text:?}");
    assert!(took >= Duration::from_millis(500), "{took:?}");
}

#[test]
fn an_interrupt_leaves_the_terminal_as_it_was() {
    let Shown { status, text, .. } = shown(&Scene::indexed(), &Asked::Interrupts);
    assert_eq!((status.code(), status.signal()), (Some(130), None), "{text:?}");
    assert!(!text.contains('\u{2580}'), "{text:?}");
}
