"""Words near a number that say what it is. They are looked for in a few dozen characters."""

from __future__ import annotations

from ..patterns import Deferred, Pattern


def said(cue: Pattern, before: str) -> bool:
    """Whether a cue stands in a text."""
    return cue.search(before.encode()) is not None


_cue = Deferred


CARD = _cue(
    r"card|visa|master|amex|american express|pan\b|karte|carte|tarjeta|cart[ãa]o|carta|карт|卡"
    r"|カード|카드"
)
SSN = _cue(r"\bssns?\b|social[- ]security|\bsocial\b|社会安全")
ABA = _cue(r"\baba\b|routing|transit|\brtn\b")
TAX = _cue(r"steuer|\bid-?nr|tax|\btin\b|identifikationsnummer")
AUSTRALIA = _cue(r"\btfn\b|tax file")
VEHICLE = _cue(r"\bvin\b|vehicle|chassis|fahrgestell|fahrzeug|车架|車台|bastidor|châssis|telaio")
IDENTITY = _cue(
    r"\bid (?:card|number|no\b|nr)|identity|identidad|identit[éà]|identifik|identyfik|\bnational"
    r"|citizen|personal (?:code|number)|insurance n|\bnhs\b"
    r"|\bn\.?i\.? n|tax|\bssn|\bsin\b|\btin\b|\bpan\b|aadh?aa?r|\bnric\b|\bcpf\b|\bcpr\b|\bbsn\b"
    r"|burgerservice"
    r"|\bpesel|\bdni\b|\bnif\b|\bnie\b|\bcurp\b|\brut\b|\brfc\b|fiscal|sécu|\binsee\b|\bnir\b"
    r"|\bnn\b"
    r"|personnummer|personal-?nr|personenkennz|hetu|henkilö|fødsels|\bcnp\b|rodné|rodne|kimlik"
    r"|t\.?c\.? "
    r"|\bamka\b|αμκα|\boib\b|\begn\b|егн|isikukood|asmens|\bpps|\bsvnr|sozialvers|\bahv\b|\bavs\b"
    r"|rijksregister|registre national|contribuinte|снилс|(?:\A|[ ,(])инн[ :]|рнокпп|ідентиф|身份"
    r"|身分|证件|公民"
    r"|マイナンバー|個人番号|주민|주민등록|ת\.?ז|תעודת|זהות|هوية|الهوية|رقم قومي|آधार|आधार|पैन|बीमा"
    r"|ktp\b|\bnik\b|บัตรประชาชน|\bcnic\b|ausweis|personalausweis|documento|carta d.identit"
)
PHONE = _cue(
    r"(?:phone|landline|rückruf|\btels?\b|\btél|tel[eé]f|telepho|telefoon|mobile|\bcell|\bcall(?:ed|ing|s)?\b"
    r"|\btext\b|whats ?app|\bfax\b"
    r"|\bsms\b|\breach(?:ed)?\b|\bdial|\bring\b|\bhandy|\bmobil|portable|m[óo]vil|celular"
    r"|cellulare|telem[óo]v"
    r"|телефон|(?:\A|[ ,;(])(?:тел|моб)[. :]|звони|набери|电话|電話|手机|手機|联系方式|致电"
    r"|拨打|座机|携帯|전화|휴대폰|휴대전화"
    r"|연락처|핸드폰|هاتف|الهاتف|جوال|اتصل|تليفون|फ़ोन|फोन|मोबाइल|điện thoại|\bsđt\b|zadzwo|\bbel\b"
    r"|appele"
    r"|joign|\bllám|\bllam(?:e|ar)\b|\bligue|\bliga|chiama|\bruf|anruf|erreich|\bsignal\b|telegram|gsm"
    r"|kom[óo]r|contact[oe]?\s?[:：])"
    r"[^\d\n]{0,30}\z"
)
PHONE_NOUN = _cue(
    r"phone|landline|\btels?\b|\btél|tel[eé]f|mobile|\bcell\b|\bfax\b|телефон|电话|電話|手机|手機|座机|携帯|전화|هاتف|फ़ोन|फोन"
    r"|điện thoại|\bsđt\b|kom[óo]r|cellulare|celular|m[óo]vil"
)
OTHER = _cue(
    r"(?:\border|invoice|ticket|tracking|shipment|parcel|\bref\b|reference|\bsku\b|serial"
    r"|\bpart\b|\bmodel|isbn|issn"
    r"|\bean\b|\bupc\b|\bgtin|barcode|\bdoi\b|version|\bbuild|commit|\bcase\b|\bitem|product"
    r"|batch|\blot\b"
    r"|\bevent|\btrace|\brequest|transaction|\berror|\bpid\b|process|timestamp|epoch|unix"
    r"|\bport\b|\bpopulation"
    r"|\bbytes?\b|\bhash|checksum|\bseed|\bkey\b|\brow|\bindex|bestell|rechnung|auftrag|commande"
    r"|facture"
    r"|pedido|factura|ordine|fattura|nota fiscal|zamówien|faktur|заказ|счет|счёт|订单|訂單|单号"
    r"|運單|运单"
    r"|快递|流水|编号|型号|货号|发票|注文|伝票|주문|송장|\bconst\b|\blet\b|\bvar\b|\bint\b"
    r"|\blong\b|uint\d*|[=*/^])"
    r"[^\d\n]{0,14}\z"
)
"""What numbers are that are nobody's: an order, a product, a constant."""
