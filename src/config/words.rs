//! What people write for a name that is not known: keys of later versions, words of other supervisors,
//! misspellings. Each gets the answer that helps most.
#![forbid(unsafe_code)]

/// Keys that the design has and this version has not: refused, since a setting that is silently without
/// effect is worse than one that is missing.
const LATER: &[&str] = &["depends_on", "ready"];

/// Words of supervisord, systemd and habit, with ours.
const SYNONYMS: &[(&str, &str)] = &[
    ("alert", "notify"),
    ("alerting", "notify"),
    ("args", "cmd"),
    ("cafile", "ca_file"),
    ("ca", "ca_file"),
    ("chmod", "mode"),
    ("command", "cmd"),
    ("critical", "crit"),
    ("cwd", "workingdir"),
    ("directory", "workingdir"),
    ("endpoint", "url"),
    ("environment", "env"),
    ("error", "err"),
    ("events", "on"),
    ("exec", "cmd"),
    ("execpaths", "restrict_paths"),
    ("exit_codes", "exitcodes"),
    ("file", "socket"),
    ("files", "include"),
    ("host", "server"),
    ("hosts", "server"),
    ("includes", "include"),
    ("instances", "numprocs"),
    ("login", "username"),
    ("logfile", "event_log"),
    ("noexecpaths", "restrict_paths"),
    ("mail", "email"),
    ("number_of_processes", "numprocs"),
    ("notifications", "notify"),
    ("passwd", "password_file"),
    ("process", "programs"),
    ("processes", "programs"),
    ("program", "programs"),
    ("readonlypaths", "restrict_paths"),
    ("readwritepaths", "restrict_paths"),
    ("recipients", "to"),
    ("restart", "autorestart"),
    ("sender", "from"),
    ("service", "programs"),
    ("services", "programs"),
    ("smtp", "email"),
    ("smtps", "implicit"),
    ("ssl", "implicit"),
    ("startsecs", "starttime"),
    ("stderr_logfile", "stderr"),
    ("stdout_logfile", "stdout"),
    ("stdout_logfile_backups", "log_backups"),
    ("stdout_logfile_maxbytes", "log_maxbytes"),
    ("stop_timeout", "stoptime"),
    ("stopwaitsecs", "stoptime"),
    ("supervisord", "supervisor"),
    ("supplementary_groups", "groups"),
    ("uid", "user"),
    ("unix_http_server", "control"),
    ("user_name", "username"),
    ("user", "username"),
    ("warn", "warning"),
    ("webhook", "webhooks"),
    ("working_dir", "workingdir"),
    ("working_directory", "workingdir"),
];

/// Longer words are no misspellings, and comparing them costs their product.
const WORD_MAX: usize = 64;

pub fn is_of_a_later_version(key: &str) -> bool {
    LATER.contains(&key)
}

/// The known word that was probably meant: a synonym, else one that is few keystrokes away.
pub fn meant<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > WORD_MAX {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let word = plain(word);
    let synonym = SYNONYMS.iter().find(|(theirs, _)| *theirs == word).map(|(_, ours)| *ours);
    let mut nearest: Option<(usize, &str)> = None;
    for candidate in known {
        if synonym == Some(candidate) {
            return Some(candidate);
        }
        let distance = strsim::damerau_levenshtein(&word, &plain(candidate));
        let short = word.chars().count().min(candidate.chars().count());
        if distance <= (short / 3).max(1) && distance < short && nearest.is_none_or(|(best, _)| distance < best) {
            nearest = Some((distance, candidate));
        }
    }
    nearest.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_and_words_of_other_supervisors_lead_to_ours() {
        let known = ["cmd", "numprocs", "stoptime", "starttime", "workingdir", "env", "user", "group", "groups"];
        for (word, ours) in [
            ("numproc", "numprocs"),
            ("num_procs", "numprocs"),
            ("command", "cmd"),
            ("startsecs", "starttime"),
            ("stop-time", "stoptime"),
            ("Workingdir", "workingdir"),
            ("working_dir", "workingdir"),
            ("environment", "env"),
            ("usr", "user"),
            ("cdm", "cmd"),
            ("groupes", "groups"),
        ] {
            assert_eq!(meant(word, known), Some(ours), "{word}");
        }
        for word in ["banana", "x", "", "é", &"c".repeat(100)] {
            assert_eq!(meant(word, known), None, "{word}");
        }
    }
}
