# Perl's Net::SMTP: STARTTLS and TLS at once.
use strict;
use warnings;
use Net::SMTP;

my ($host, $port, $tls_port, $user, $password, $recipient) = @ARGV;
my %unchecked = (SSL_verify_mode => 0, SSL_verifycn_scheme => 'none');
for my $at_once (0, 1) {
    my $client = Net::SMTP->new($host, Port => $at_once ? $tls_port : $port, SSL => $at_once, %unchecked)
        or die "no connection: $@";
    $at_once or $client->starttls(%unchecked) or die 'starttls: ' . $client->message;
    $client->auth($user, $password) or die 'auth: ' . $client->message;
    $client->mail('shop@sender.example') or die 'mail: ' . $client->message;
    $client->to($recipient) or die 'rcpt: ' . $client->message;
    $client->data("From: shop\@sender.example\nTo: $recipient\nSubject: Net::SMTP\n\n.\ntext\n")
        or die 'data: ' . $client->message;
    $client->quit;
}
