"""Patterns (RE2) that tell a request for an image in English, Spanish, French, German, Portuguese,
Italian, Russian, Chinese, Japanese, Korean and, narrowly, Arabic.
"""

from __future__ import annotations

_WORDS = r"(?:[\s,]+[\pL\pM\pN'’-]+){0,6}?[\s,]+"
_NOUN = (
    r"(?:images?|pictures?|pics?|photos?|photographs?|illustrations?|drawings?|paintings?|logos?"
    r"|icons?|wallpapers?|posters?|artwork|portraits?|sketch(?:es)?|memes?|avatars?|renders?"
    r"|imagen(?:es)?|fotos?|dibujos?|ilustraci(?:ón|ones)|logotipos?"
    r"|dessins?|illustrations?|affiches?"
    r"|bild(?:er)?|zeichnung(?:en)?|illustration(?:en)?|grafik(?:en)?"
    r"|imagem|imagens|desenhos?|ilustraç(?:ão|ões)"
    r"|immagin[ei]|disegn[oi]|illustrazion[ei]"
    r"|картинк[уаи]|изображени[еяй]|рисун(?:ок|ки)|иллюстраци[юия]|логотип)"
)
_MAKE = (
    r"(?:generate|create|make|draw|paint|sketch|design|render|produce|give me|show me|illustrate"
    r"|genera|generar?|crea|crear|dibuja|haz(?:me)?|diseña"
    r"|génère|générer|crée[rz]?|dessine[rz]?|fais(?:-moi)?"
    r"|generiere|erstelle|erzeuge|zeichne|mal(?:e)?|entwirf"
    r"|gere|gerar|crie|criar|desenhe|faça"
    r"|crei|creami|disegna(?:mi)?"
    r"|нарисуй(?:те)?|сгенерируй(?:те)?|создай(?:те)?|сделай(?:те)?)"
)
# Verbs that ask for an image whatever comes after them.
_DRAW = (
    r"(?:draw|paint|sketch)\s+(?:me\s+)?(?:an?|the|some|two|three)\s"
    r"|(?:dibuja|dibújame|desenhe|disegna|disegnami|dessine|dessine-moi|zeichne|zeichne mir"
    r"|нарисуй|нарисуйте)\s"
)
_CJK = (
    r"(?:画|绘制|畫|繪製)(?:一|个|個|幅|张|張|出|只|隻|副)"
    r"|(?:生成|制作|製作|创建|設計|设计|做)[^。！？\n]{0,12}(?:图片|圖片|图像|圖像|插图|插圖|海报|海報|照片|图标|徽标|logo)"
    r"|(?:画像|イラスト|絵|写真|ロゴ)を?[^。\n]{0,6}(?:生成|作成|作っ|描い|描け)"
    r"|(?:그림|이미지|사진|로고|일러스트)[을를]?\s?[^.\n]{0,6}(?:그려|생성|만들)"
    r"|(?:ارسم|صمم شعار)|أنشئ صورة"
)
_STYLE = r"--(?:ar|v|stylize|niji|seed)\s+[\d:.]+|(?:8k|4k|photorealistic|octane render|unreal engine)\s*,"
IMAGE = rf"(?:^|[^\pL])(?:{_MAKE}{_WORDS}(?:{_NOUN})(?:[^\pL]|$)|{_DRAW})|{_CJK}|{_STYLE}"
"""A request for an image."""

_EXPLAIN = (
    r"(?:explain|describe|write|tell|teach|summari[sz]e|show|introduce|explica|explique|describe|escribe"
    r"|erkläre|beschreibe|schreibe|décris|écris|descreva|escreva|spiega|scrivi|объясни|опиши|расскажи|напиши)"
)
_BESIDE = (
    r"(?:with|including?|along with|accompanied by"
    r"|and (?:also )?(?:include|add|generate|create|draw|provide)"
    r"|con|avec|mit|com|и (?:нарисуй|добавь))"
)
TEXT_AND_IMAGE = (
    rf"(?:^|[^\pL]){_EXPLAIN}[^.!?\n]{{0,200}}[^\pL](?:{_BESIDE}"
    rf"(?:[\s,]+[\pL\pM\pN'’-]+){{0,3}}?[\s,]+(?:{_NOUN}|diagrams?|visuals?|diagrama|schéma|Diagramm"
    r"|схем[ойуы])|and illustrate)(?:[^\pL]|$)"
    r"|(?:解释|说明|介绍|描述|写)[^。！？\n]{1,60}(?:并|和|同时|配)[^。！？\n]{0,8}(?:图|插画|画)"
    r"|(?:説明|解説|書い)[^。\n]{1,60}(?:図|イラスト|画像)"
    r"|(?:설명|써)[^.\n]{1,60}(?:그림|이미지|그려)"
)
"""A request for a text that is to be illustrated."""
NOT_AN_IMAGE = (
    rf"{_NOUN}[\s-]+(?:gallery|galleries|classifier|classification|processing|recognition|upload(?:er|s)?"
    r"|viewer|editor|library|component|carousel|url|urls|tag|file|files|format|compression|dataset|model"
    r"|search|button|slider|picker|resizer?|cropper|api|parser|pipeline|detection|segmentation|server)"
    r"|(?:write|create|make|generate|give me|show me|need|fix|debug|explain)(?:[\s]+[\pL\pN+#-]+){0,4}?\s+"
    r"(?:code|function|script|program|class|query|component|regex|test|tests|dockerfile|docker image"
    r"|svg|html|css|command|commands|app|api|conclusions?|alt text|caption|prompt)(?:[^\pL]|$)"
    r"|docker images?|disk images?|big(?:ger)? picture|whole picture|draw (?:a|the|some) "
    r"(?:conclusion|comparison|parallel|distinction|line between|lesson|analogy)"
)
"""A request that names images and wants something else."""
MAKING = (
    rf"(?:^|[^\pL]){_MAKE}(?:[^\pL]|$)"
    r"|画|绘|畫|繪|生成|制作|製作|创建|作成|描い|描け|그려|만들|생성"
)
"""A verb of making, anywhere."""
