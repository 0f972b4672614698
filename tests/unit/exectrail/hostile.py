"""Arguments by which somebody could attack whoever reads them."""

HOSTILE = {
    "script": "<script>document.title='taken'</script>",
    "end of the script": "</script><script>document.title='taken'</script>",
    "end of the record": "</pre></details><img src=x onerror=\"document.title='taken'\">",
    "end of the program": "</code><h1>alice was innocent</h1><code>",
    "attribute": '" onmouseover="document.title=\'taken\'" x="',
    "template": "{{ 7*7 }}{% include 'x' %}",
    "comment": "<!-- --><!--><![CDATA[",
    "entity": "&lt;b&gt;&#x202e;&NewLine;",
    "style": "</style><style>*{display:none}</style>",
    "refresh": "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "link": "<a href='javascript:document.title=1'>click</a><iframe src=https://evil.example></iframe>",
    "right to left": "evil\u202etxt.exe\u2066\u2069\u200f",
    "terminal": "\x1b[2J\x1b[31mred\x07\x9b0m",
    "controls": "\x00\x01\x7f\x85\r\n\t\v\f",
    "separators": "one\u2028two\u2029three\ufeff\u200b",
    "unassigned and private": "\ue000\U000f0000\ufdd0\U0010ffff",
    "combining": "a" + "\u0300" * 200,
    "long": "x" * 5000,
}
