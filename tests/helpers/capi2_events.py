"""CAPI2 events for tests, in the element schemas of real exports, and the forms in which exports arrive."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from places import CHECKOUT

from evtx_analyzer.model.origin import Origin
from evtx_analyzer.model.records import EventRecord
from evtx_analyzer.normalize.capi2 import normalize_capi2
from samples.capi2 import Recorder, guid

REAL = CHECKOUT.parent / "shared/data/capi2"
START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
LEAF, ISSUER = "A" * 40, "B" * 40
TASK, CHAIN = guid("task"), guid("chain")
URL = "http://crl.contoso.com/ca.crl"


def tail(sequence, result=None, *, task=TASK, process="lsass.exe", text=""):
    end = "" if result is None else f'<Result value="{result}">{text}</Result>'
    return f'<EventAuxInfo ProcessName="{process}"/><CorrelationAuxInfo TaskId="{task}" SeqNumber="{sequence}"/>{end}'


def leaf(name="Certificate", thumbprint=LEAF, subject="mail.contoso.com"):
    return f'<{name} fileRef="{thumbprint}.cer" subjectName="{subject}"/>'


def start(root, sequence, **options):
    return f"<{root}Start>{tail(sequence, **options)}</{root}Start>"


def chain(sequence, result="0", *, error="0", names="", ref=CHAIN, extra="", **options):
    return (
        f'<CertGetCertificateChain>{leaf()}<Flags value="0"/><ChainEngineInfo context="machine"/>'
        f'<CertificateChain chainRef="{ref}"><TrustStatus><ErrorStatus value="{error}" {names}/><InfoStatus value="0"/>'
        f"</TrustStatus><ChainElement>{leaf()}<TrustStatus><ErrorStatus value='0'/><InfoStatus value='102'/>"
        f"</TrustStatus>{extra}</ChainElement></CertificateChain>{tail(sequence, result, **options)}"
        "</CertGetCertificateChain>"
    )


def policy(sequence, result="0", *, kind="SSL", constant="4", ref=CHAIN, ignore="280", names="", **options):
    ssl = (
        f'<SSLAdditionalPolicyInfo authType="server"><IgnoreFlags value="{ignore}" {names}/></SSLAdditionalPolicyInfo>'
    )
    return (
        f'<CertVerifyCertificateChainPolicy><Policy type="CERT_CHAIN_POLICY_{kind}" constant="{constant}"/>{leaf()}'
        f'<CertificateChain chainRef="{ref}"/><Flags value="0"/>{ssl}<Status chainIndex="0" elementIndex="-1"/>'
        f"{tail(sequence, result, **options)}</CertVerifyCertificateChainPolicy>"
    )


def revocation(sequence, result="0", **options):
    return (
        f'<CertVerifyRevocation>{leaf()}{leaf("IssuerCertificate", ISSUER, "Contoso CA")}<Flags value="4" '
        'CERT_VERIFY_REV_ACCUMULATIVE_TIMEOUT_FLAG="true"/><RevocationStatus index="0" error="80092013" reason="0"/>'
        f'<CertificateRevocationList location="TvoCache" url="{URL}" fileRef="{"C" * 40}.crl"/>'
        f"{tail(sequence, result, **options)}</CertVerifyRevocation>"
    )


def rejected(sequence, **options):
    return (
        f"<CertRejectedRevocationInfo>{leaf('SubjectCertificate')}{leaf('IssuerCertificate', ISSUER, 'Contoso CA')}"
        f'<CertificateRevocationList location="UrlCache" url="{URL}" fileRef="{"C" * 40}.crl"/>'
        f'<Action name="CheckTimeValidity"/>{tail(sequence, **options)}</CertRejectedRevocationInfo>'
    )


def retrieval(sequence, result="0", *, root="CryptRetrieveObjectByUrlWire", **options):
    return (
        f'<{root}><URL scheme="http">{URL}</URL><Object type="CONTEXT_OID_CRL" constant="2"/><Flags value="202005" '
        'CRYPT_RETRIEVE_MULTIPLE_OBJECTS="true" CRYPT_WIRE_ONLY_RETRIEVAL="true" '
        'CRYPT_LDAP_SCOPE_BASE_ONLY_RETRIEVAL="true" CRYPT_PROXY_CACHE_RETRIEVAL="true"/><AdditionalInfo>'
        '<Action name="Call_WinHttpGetProxyForUrl"><Error value="2F94">Not found.</Error></Action>'
        '<Action name="NoProxy"/><HTTPResponseHeadersInfo><Header>HTTP/1.1 200 OK</Header><Header>Age: 1</Header>'
        f"</HTTPResponseHeadersInfo></AdditionalInfo>{tail(sequence, result, **options)}</{root}>"
    )


def private_key(sequence=1, result="0", **options):
    return (
        f"<CryptAcquireCertificatePrivateKey>{leaf()}"
        '<Flags value="10001" CRYPT_ACQUIRE_CACHE_FLAG="true" CRYPT_ACQUIRE_ALLOW_NCRYPT_KEY_FLAG="true"/>'
        f"{tail(sequence, result, **options)}</CryptAcquireCertificatePrivateKey>"
    )


def trust(sequence, result="0", *, signer=CHAIN, stamp="{0}", **options):
    return (
        '<WinVerifyTrust><ActionID>{0}</ActionID><Flags value="80000080" '
        'WTD_REVOCATION_CHECK_CHAIN_EXCLUDE_ROOT="true" CPD_USE_NT5_CHAIN_FLAG="true"/>'
        '<FileInfo filePath="C:\\x\\setup.exe" hasFileHandle="true"/>'
        f'<CertificateChain chainRef="{signer}"/><TimestampChain chainRef="{stamp}"/>'
        f"{tail(sequence, result, **options)}</WinVerifyTrust>"
    )


def catalog(sequence=1, result="0", **options):
    return (
        '<CryptCATAdminEnumCatalogFromHash><CATQueryInfo hash="00" targetFilePath="\\Windows\\x.dll"/>'
        f"{tail(sequence, result, **options)}</CryptCATAdminEnumCatalogFromHash>"
    )


def objects(sequence, **options):
    return (
        f'<X509Objects><Certificate fileRef="{LEAF}.cer" subjectName="mail.contoso.com"><Subject>'
        '<CN>mail.contoso.com</CN><C>DE</C></Subject><SubjectKeyID computed="false" hash="11"/>'
        "<Issuer><CN>Contoso CA</CN></Issuer>"
        "<SerialNumber>0A</SerialNumber><NotBefore>2025-01-01T00:00:00Z</NotBefore>"
        "<NotAfter>2027-01-01T00:00:00Z</NotAfter><Extensions><SubjectAltName><DNSName>mail.contoso.com</DNSName>"
        '<DNSName>*.contoso.com</DNSName></SubjectAltName><AuthorityKeyIdentifier><KeyID hash="22"/>'
        '</AuthorityKeyIdentifier><ExtendedKeyUsage><Usage oid="1.3.6.1.5.5.7.3.1" name="Serverauthentifizierung"/>'
        "</ExtendedKeyUsage><AuthorityInfoAccess><CAIssuers><URL>http://pki.contoso.com/ca.crt</URL></CAIssuers>"
        f"</AuthorityInfoAccess></Extensions></Certificate>{tail(sequence, **options)}</X509Objects>"
    )


def log(*bodies, computer="EX01.contoso.com", first=1, seconds=1.0, process=600):
    """Events of (id, body) pairs as XML, one record and some time after the other."""
    recorder = Recorder(computer, next_record=first)
    for number, (event_id, body) in enumerate(bodies):
        time = START + timedelta(seconds=seconds * (first - 1 + number))
        recorder.write(event_id, time, body, process=process, thread=1, level=4)
    return recorder.events


def full_chain(task=TASK, ref=CHAIN, result="800B010A", error="10000", names='CERT_TRUST_IS_PARTIAL_CHAIN="true"'):
    """One standalone chain with everything that can lie inside of it, and its policy check in a task of its own."""
    here = {"task": task}
    return [
        (10, start("CertGetCertificateChain", 1, **here)),
        (40, start("CertVerifyRevocation", 2, **here)),
        (50, start("CryptRetrieveObjectByUrlCache", 3, **here)),
        (51, retrieval(4, root="CryptRetrieveObjectByUrlCache", **here)),
        (42, rejected(5, **here)),
        (52, start("CryptRetrieveObjectByUrlWire", 6, **here)),
        (53, retrieval(7, **here)),
        (41, revocation(8, "80092013", **here)),
        (90, objects(9, **here)),
        (11, chain(10, result, error=error, names=names, ref=ref, **here)),
        (30, policy(1, "800B0109", ref=ref, names=_IGNORED, task=guid(task + "policy"))),
    ]


_IGNORED = 'SECURITY_FLAG_IGNORE_REVOCATION="true" SECURITY_FLAG_IGNORE_WRONG_USAGE="true"'


def every_id():
    """Every event id with a known schema, and one without."""
    return [
        *full_chain(),
        (70, private_key(task=guid("key"))),
        (80, start("WinVerifyTrust", 1, task=guid("trust"))),
        (81, trust(2, "800B0100", signer="", task=guid("trust"))),
        (82, catalog(task=guid("catalog"))),
        (23, f"<CertOpenStore>{tail(1, task=guid('store'))}</CertOpenStore>"),
    ]


def normalized(xml, source="capi2.evtx"):
    """The typed event of one event's XML."""
    match = re.search(r"<EventRecordID>(\d+)<", xml)
    record = int(match[1]) if match else None
    return normalize_capi2(EventRecord(origin=Origin(source=source, record=record), xml=xml, record_id=record))
