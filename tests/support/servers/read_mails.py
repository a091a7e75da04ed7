"""read_mails.py FILE...: prints one JSON object a mail; ends with an error at the first defect."""
import email
import email.policy
import json
import sys

POLICY = email.policy.SMTP.clone(raise_on_defect=True)

for path in sys.argv[1:]:
    with open(path, "rb") as file:
        raw = file.read()
    for number, line in enumerate(raw.split(b"\n"), 1):
        line = line[:-1] if line.endswith(b"\r") else line
        assert len(line) <= 998, f"{path}: line {number} has {len(line)} bytes"
        assert b"\r" not in line, f"{path}: line {number} has a bare CR"
        bad = [byte for byte in line if byte < 32 and byte != 9 or byte == 127]
        assert not bad, f"{path}: line {number} has control characters {bad}"
    message = email.message_from_bytes(raw, policy=POLICY)
    assert not message.defects, f"{path}: {message.defects}"
    assert not message.is_multipart(), f"{path}: it is no plain text"
    for name, value in message.items():
        assert not value.defects, f"{path}: {name}: {value.defects}"
    body = message.get_content()
    headers = [[name, str(value)] for name, value in message.items()]
    print(json.dumps({"headers": headers, "body": body}))
