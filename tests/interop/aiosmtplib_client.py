"""aiosmtplib: a hundred messages over ten connections at once."""
import asyncio
import ssl
import sys
from email.message import EmailMessage

import aiosmtplib

host, port, tls_port, user, password, recipient = sys.argv[1:7]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


async def session(number):
    ways = ({"port": int(port), "start_tls": True}, {"port": int(tls_port), "use_tls": True})
    async with aiosmtplib.SMTP(
        hostname=host, username=user, password=password, tls_context=context, **ways[number % 2]
    ) as client:
        for turn in range(10):
            mail = EmailMessage()
            mail["From"], mail["To"] = "shop@sender.example", recipient
            mail["Subject"] = f"aiosmtplib {number} {turn}"
            mail.set_content("text\n")
            errors, _ = await client.send_message(mail)
            assert errors == {}, errors


async def main():
    await asyncio.gather(*(session(number) for number in range(10)))


asyncio.run(main())
