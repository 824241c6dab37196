"""Words near a number that say what it is. They are looked for in a few dozen characters."""

from __future__ import annotations

import re


def _cue(words: str) -> re.Pattern[str]:
    return re.compile(words)


CARD = _cue(r"card|visa|master|amex|american express|pan\b|karte|carte|tarjeta|cart[ãa]o|carta|карт|卡|カード|카드")
SSN = _cue(r"\bssns?\b|social[- ]security|\bsocial\b|社会安全")
ABA = _cue(r"\baba\b|routing|transit|\brtn\b")
TAX = _cue(r"steuer|\bid-?nr|tax|\btin\b|identifikationsnummer")
AUSTRALIA = _cue(r"\btfn\b|tax file")
VEHICLE = _cue(r"\bvin\b|vehicle|chassis|fahrgestell|fahrzeug|车架|車台|bastidor|châssis|telaio")
IDENTITY = _cue(
    r"\bid\b|\bids\b|identi|\bnational|citizen|passport|personal (?:code|number)|insurance n|\bnhs\b"
    r"|\bn\.?i\.? n|tax|\bssn|\bsin\b|\btin\b|\bpan\b|aadh?aa?r|\bnric\b|\bcpf\b|\bcpr\b|\bbsn\b|burgerservice"
    r"|\bpesel|\bdni\b|\bnif\b|\bnie\b|\bcurp\b|\brut\b|\brfc\b|fiscal|sécu|\binsee\b|\bnir\b|\bnn\b"
    r"|personnummer|personal-?nr|personenkennz|hetu|henkilö|fødsels|\bcnp\b|rodné|rodne|kimlik|t\.?c\.? "
    r"|\bamka\b|\bαμκα|\boib\b|\begn\b|егн|isikukood|asmens|\bpps|\bsvnr|sozialvers|\bahv\b|\bavs\b"
    r"|rijksregister|registre national|contribuinte|снилс|\bинн\b|рнокпп|ідентиф|паспорт|身份|身分|证件|公民"
    r"|マイナンバー|個人番号|주민|주민등록|ת\.?ז|תעודת|זהות|هوية|الهوية|رقم قومي|آधार|आधार|पैन|बीमा"
    r"|ktp\b|\bnik\b|บัตรประชาชน|\bcnic\b|ausweis|personalausweis|documento|carta d.identit"
)
PHONE = _cue(
    r"(?:phone|\btels?\b|\btél|telef|telepho|telefoon|mobile|\bcell|\bcall(?:ed|ing|s)?\b|\btext\b|whats ?app|\bfax\b"
    r"|\bsms\b|\breach(?:ed)?\b|\bdial|\bring\b|\bhandy|\bmobil|portable|m[óo]vil|celular|cellulare|telem[óo]v"
    r"|телефон|\bтел\b|\bмоб|звони|набери|电话|電話|手机|手機|联系方式|致电|拨打|座机|携帯|전화|휴대폰|휴대전화"
    r"|연락처|핸드폰|هاتف|الهاتف|جوال|اتصل|تليفون|फ़ोन|फोन|मोबाइल|điện thoại|\bsđt\b|zadzwo|\bbel\b|appele"
    r"|joign|llám|llama|\bligue|\bliga|chiama|\bruf|anruf|erreich|\bsignal\b|telegram|gsm|kom[óo]r)"
    r"[^\d\n]{0,30}$"
)
OTHER = _cue(
    r"(?:\border|invoice|ticket|tracking|shipment|parcel|\bref\b|reference|\bsku\b|serial|\bpart\b|\bmodel|isbn|issn"
    r"|\bean\b|\bupc\b|\bgtin|barcode|\bdoi\b|version|\bbuild|commit|\bcase\b|\bitem|product|batch|\blot\b"
    r"|\bevent|\btrace|\brequest|transaction|\berror|\bpid\b|process|timestamp|epoch|unix|\bport\b|\bpopulation"
    r"|\bbytes?\b|\bhash|checksum|\bseed|\bkey\b|\brow|\bindex|bestell|rechnung|auftrag|commande|facture"
    r"|pedido|factura|ordine|fattura|nota fiscal|zamówien|faktur|заказ|счет|счёт|订单|訂單|单号|運單|运单"
    r"|快递|流水|编号|型号|货号|发票|注文|伝票|주문|송장|\bconst\b|\blet\b|\bvar\b|\bint\b|\blong\b|uint\d*|[=*/^])"
    r"[^\d\n]{0,14}$"
)
"""What numbers are that are nobody's: an order, a product, a constant."""
