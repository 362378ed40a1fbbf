//! Gives advice for a program that goes into the background: the master supervises only the process that it started.
//! Pure.

use crate::config::Program;

/// The options with which well-known servers stay in the foreground.
const ADVICE: &[(&str, &str)] = &[
    ("nginx", "nginx -g 'daemon off;'"),
    ("redis-server", "redis-server --daemonize no"),
    ("valkey-server", "valkey-server --daemonize no"),
    ("gunicorn", "gunicorn without -D (--daemon), and `daemon = False` in its file"),
    ("unicorn", "unicorn without -D (--daemonize)"),
    ("puma", "puma without --daemon"),
    ("uwsgi", "uwsgi without --daemonize"),
    ("php-fpm", "php-fpm --nodaemonize"),
    ("apache2", "apache2 -DFOREGROUND"),
    ("httpd", "httpd -DFOREGROUND"),
    ("lighttpd", "lighttpd -D"),
    ("haproxy", "haproxy -db"),
    ("memcached", "memcached without -d"),
    ("sshd", "sshd -D"),
    ("pg_ctl", "postgres instead of pg_ctl start"),
    ("celery", "celery worker instead of celery multi"),
    ("pm2", "the program itself, or pm2-runtime"),
];

/// Returns the advice for `program`, which exited and left a process called `name` behind.
pub(in crate::supervisor) fn advice(program: &Program, name: &str) -> String {
    let words: Vec<&str> = match program {
        Program::Demo => Vec::new(),
        // The argument of `sh -c` contains several words.
        Program::Command(words) => words.iter().flat_map(|word| word.split_whitespace()).collect(),
    };
    // The name of the process that went on says more than the command.
    let names = std::iter::once(name).chain(words.into_iter().map(|word| word.rsplit('/').next().unwrap_or(word)));
    let mut known = names.filter_map(|name| ADVICE.iter().find(|(known, _)| is_same(name, known)));
    let otherwise = "without its daemon option, in a script without `&`, `nohup` or `setsid`";
    format!(
        "it went into the background; start it in the foreground: {}",
        known.next().map_or(otherwise, |(_, how)| how)
    )
}

/// Returns true if the names match, apart from a version at the end: `php-fpm8.2`.
fn is_same(name: &str, known: &str) -> bool {
    name.strip_prefix(known).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str], name: &str) -> String {
        advice(&Program::Command(words.iter().map(|&word| word.to_owned()).collect()), name)
    }

    #[test]
    fn known_server_gets_its_own_advice() {
        for (words, name, expected) in [
            (&["nginx", "-c", "x"][..], "nginx", "nginx -g 'daemon off;'"),
            (&["/usr/bin/redis-server", "--daemonize", "yes"], "redis-server", "redis-server --daemonize no"),
            (&["sh", "-c", "exec gunicorn -D app"], "python3", "gunicorn without -D"),
            (&["./start.sh"], "php-fpm8.2", "php-fpm --nodaemonize"),
        ] {
            let said = of(words, name);
            assert!(said.contains(&format!("start it in the foreground: {expected}")), "{said}");
        }
    }

    #[test]
    fn unknown_program_gets_general_advice() {
        let said = of(&["python3", "background.py"], "python3");
        assert!(said.ends_with("without its daemon option, in a script without `&`, `nohup` or `setsid`"), "{said}");
    }
}
