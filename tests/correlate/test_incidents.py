"""The certificate of an incident is one of this server: the one that was sent, or one with a name of this server."""

from __future__ import annotations

import pytest
from places import SAMPLES

from evtx_analyzer import pipeline


@pytest.mark.parametrize(
    ("case", "thumbprints"),
    [
        # The Send log shows it; the IIS log shows none, and a check of a certificate with the server's name does.
        ("kb-3212877", ["EC53EBC94A796C42E5B4E5851F961874F013D94C"] * 2),
        # The failed check beside it is of the certificate of Exchange Online, and the session used no TLS.
        ("remote-untrusted", [None]),
        ("no-certificate", [None]),
    ],
)
def test_the_certificate_of_an_incident_is_never_that_of_the_remote_side(case, thumbprints):
    incidents = pipeline.analyze(SAMPLES / case).incidents
    assert [incident.certificate and incident.certificate.thumbprint for incident in incidents] == thumbprints
