"""sink.py PORT MODE DIRECTORY [CERTIFICATE KEY]: an SMTP server that misbehaves as MODE says.

Writes each mail it takes as N.eml with its envelope in N.json, and a line for each connection, each
password and each refused message into `log`. Prints `ready` when it listens."""
import asyncio
import json
import os
import ssl
import sys
import time

from aiosmtpd.smtp import SMTP, AuthResult

port, mode, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
os.makedirs(out, exist_ok=True)
count = len([name for name in os.listdir(out) if name.endswith(".eml")])


def log(**what):
    with open(os.path.join(out, "log"), "a") as file:
        file.write(json.dumps({"t": time.time(), **what}) + "\n")


class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        if mode == "mail421":
            return "421 4.3.2 shutting down"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 5.1.1 no such user"
        if address.startswith("busy@"):
            return "451 4.7.1 try later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        global count
        refusal = {"data4xx": "451 4.3.0 temporary", "data5xx": "554 5.7.1 rejected"}.get(mode)
        if refusal:
            log(refused=refusal, size=len(envelope.original_content), text=envelope.original_content.decode("ascii"))
            return refusal
        count += 1
        base = os.path.join(out, "%06d" % count)
        with open(base + ".json", "w") as file:
            json.dump({"from": envelope.mail_from, "to": envelope.rcpt_tos, "t": time.time(),
                       "tls": bool(session.ssl), "user": session.auth_data}, file)
        with open(base + ".tmp", "wb") as file:
            file.write(envelope.original_content)
        os.rename(base + ".tmp", base + ".eml")
        if mode == "lostack" and count == 1:
            server.transport.abort()  # taken, and nobody hears of it
        return "250 OK queued as %d" % count


class Server(SMTP):
    def connection_made(self, transport):
        if not isinstance(self.transport, asyncio.Transport) or not self.transport:
            log(connection=True)
        super().connection_made(transport)


def authenticate(server, session, envelope, mechanism, data):
    log(login=data.login.decode(), tls=bool(session.ssl))
    if (data.login, data.password) == (b"alerts", os.environ["SINK_PASSWORD"].encode()):
        return AuthResult(success=True, auth_data=data.login.decode())
    return AuthResult(success=False, handled=False)


async def misbehave(reader, writer):
    log(connection=True)
    if mode == "tarpit":
        while True:  # a byte now and then, never a line
            writer.write(b"2")
            await writer.drain()
            await asyncio.sleep(0.2)
    if mode == "silent":
        await reader.read(1 << 20)
        await asyncio.sleep(1e6)
    if mode == "bigline":
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
    writer.write(b"421 4.3.2 shutting down\r\n")
    await writer.drain()
    writer.close()


async def main():
    loop = asyncio.get_running_loop()
    if mode in ("tarpit", "silent", "bigline", "421"):
        server = await asyncio.start_server(misbehave, "127.0.0.1", port)
    else:
        context = None
        if len(sys.argv) > 5:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(sys.argv[4], sys.argv[5])
        implicit = mode == "implicit"
        settings = {"hostname": "localhost", "enable_SMTPUTF8": mode != "noutf8", "authenticator": authenticate,
                    "auth_require_tls": context is not None and not implicit}
        if context and not implicit:
            settings.update(tls_context=context, require_starttls=True)
        server = await loop.create_server(lambda: Server(Handler(), **settings), "127.0.0.1", port,
                                          ssl=context if implicit else None)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
