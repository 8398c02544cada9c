"""MAIL: what Metrion tells people by e-mail, and how it gets to the mail server.

letter     what a mail says, once; a template makes text of it, another HTML
message    a mail to one person: addressee, subject, text, HTML
outbox     messages on their way, sealed in the database; a message is posted in the transaction of what it tells of
sender     takes them from there to the mail server
server     the mail server that METRION_SMTP_URL names, and the sender's own address
"""
