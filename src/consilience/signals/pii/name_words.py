"""Words that tell names from other words with capitals."""

from __future__ import annotations

SURNAMES = (
    "王李张張刘劉陈陳杨楊黄黃赵趙吴吳周徐孙孫马馬朱胡郭何高林罗羅郑鄭梁谢謝宋唐许許韩"
    "韓冯馮邓鄧曹彭曾肖田董袁潘于蒋蔣蔡余杜叶葉程苏蘇魏吕呂丁任沈姚卢盧姜崔钟鍾谭譚陆"
    "陸汪范金石廖贾賈夏韦韋付方白邹鄒孟熊秦邱江尹薛闫段雷侯龙龍史陶黎贺賀顾顧毛郝龚龔"
    "邵万萬钱錢严嚴覃武戴莫孔向汤湯"
)
"""Common first characters of Chinese names."""

PARTICLES = frozenset(
    {
        *("de", "da", "do", "dos", "del", "della", "di", "van", "der", "den", "von"),
        *("zu", "bin", "ibn", "al", "el", "le", "la", "ten", "y"),
    }
)
"""What stands between the parts of a name, in lower case."""

NOT_NAMES = frozenset(
    {
        *("passport", "no", "license", "vin", "mrn", "iban", "act", "protection", "care", "safety"),
        *("zero", "portal", "success", "relations", "experience", "journey", "satisfaction"),
        *("protocol", "server", "lifetime", "value", "acquisition", "rights", "history"),
        *("a", "account", "address", "admin", "adresse", "america", "american", "an"),
        *("and", "api", "are", "at", "avenue", "bank", "being"),
        *("best", "birth", "by", "call", "called", "can", "card", "cell", "celular"),
        *("chinese", "city", "client", "column", "company", "contact", "contacto"),
        *("contato", "corp", "correo", "could", "credit", "customer", "data", "date"),
        *("dear", "december", "department", "desk", "developer", "did", "director"),
        *("dob", "doctor", "does", "east", "email", "emergency", "employee", "engineer"),
        *("english", "example", "fax", "february", "file", "first", "for", "french"),
        *("friday", "from", "full", "general", "german", "gmbh", "going", "handy", "he"),
        *("hello", "help", "hey", "hi", "home", "hospital", "how", "i", "id"),
        *("important", "in", "inc", "info", "information", "invoice", "is", "it"),
        *("january", "java", "july", "junior", "just", "key", "kind", "kingdom"),
        *("kontakt", "last", "lead", "list", "llc", "ltd", "mail", "main", "manager"),
        *("march", "mastercard", "message", "mobil", "mobile", "monday", "movil"),
        *("my", "móvil", "name", "new", "north", "not", "november", "number", "numéro"),
        *("número", "october", "of", "office", "on", "only", "or", "order", "our"),
        *("patient", "payment", "phone", "please", "portable", "python", "really"),
        *("reference", "regards", "road", "row", "sales", "sample", "saturday", "school"),
        *("security", "send", "senior", "sent", "september", "service", "she", "should"),
        *("sincerely", "social", "software", "south", "spanish", "ssn", "state"),
        *("states", "street", "student", "subject", "sunday", "support", "table"),
        *("teacher", "team", "tel", "telefon", "telefone", "telefonnummer", "telefono"),
        *("teléfono", "teléfonos", "test", "text", "thank", "thanks", "that", "the"),
        *("they", "this", "thursday", "to", "total", "tuesday", "tél", "united"),
        *("university", "user", "very", "visa", "was", "we", "wednesday", "west", "what"),
        *("when", "where", "which", "who", "why", "will", "with", "work", "would", "you"),
        *("your", "моб", "почта", "тел", "телефон"),
    }
)
"""Words with which no name is written, in lower case."""
