"""The small texts that the Jinja interpreter is tried on, for gen_jinja_cases.py: expressions and whole templates."""

VALUES = {
    "a": 1, "b": 2.5, "s": "Hello World", "u": "  h\u00e9llo \u00f1and\u00fa \u03a9 \u00df \u3000", "l": [3, 1, 2],
    "d": {"x": 1, "y": {"z": [1, 2, {"k": "v"}]}, "Key": "b"}, "n": None, "t": True, "f": False, "e": [], "es": "",
    "ms": [
        {"role": "system", "content": "Be nice"},
        {"role": "user", "content": "Hi\nthere"},
        {"role": "assistant", "content": "Yo <b>",
         "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"a": 1.5, "b": [True, None]}}}]},
    ],
    "big": 123456789012, "neg": -7, "words": ["b", "A", "c", "B"], "q": "it's \"q\" \\ \t\n\u0001\u00e9",
    "pairs": [[1, 2], [3, 4]], "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": [{"v": 4, "c": []}]}]}],
}

# Each stands alone between {{ and }}.
EXPRESSIONS = r"""
a+b
a-b
a*b
a/b
7//2
-7//2
-7%3
7%-3
7.5%2
-7.5%2
7.5//2
2**10
2**-1
2**0.5
2**3**2
-2**2
1/3
10/2
1e16
1e15
123456789.123
0.0001
0.00001
1e22
1.5e-7
5e-324
1.7976931348623157e308
-0.0
100.0
1_000
0x1F
0b11
0o17
1.0e5
1e400
a ~ b ~ s ~ n ~ t
"a" "b"
'x\ny\t\\\'\x41\u00e9\101'
"\d"
s[0]
s[-1]
s[100]
s[1:4]
s[::-1]
s[::2]
s[-3:]
u[2:7]
l[1:]
l[::-1]
l[5]
l[-1]
(1,2)[0]
d.x
d.y.z[2].k
d['y']['z'][0]
d.nope
d.nope.x
nope
nope.x
nope[0]
d.items()
d.keys()
d.values()
d.get('x')
d.get('q')
d.get('q','def')
n.x
a.x
l.x
1<2<3
1<3<2
1==1.0
t==1
'a'<'b'
[1,2]<[1,3]
(1,2)==(1,2)
[1]==(1,)
{'a':1}=={'a':1.0}
1 in l
5 not in l
'ell' in s
'x' in d
n in l
1 in s
nope==nope
nope==n
nope!=1
1 < 'a'
not a
not not e
a and s
e or s
a and e or 5
n is none
n is not none
nope is defined
s is defined
a if t else b
a if f
(a if f) is defined
s|upper
s|lower
s|title
s|capitalize
u|upper
u|trim
u|title
s|length
l|length
d|length
a|length
l|first
l|last
e|first
e|last
s|first
s|last
l|join
l|join(', ')
l|join(s)
d|join
ms|join(',',attribute='role')
nope|default('x')
es|default('x')
es|default('x',true)
n|d('q')
n|d('q',true)
s|replace('o','0')
s|replace('o','0',1)
s|replace('','-')
'aaa'|replace('a','bb',2)
l|tojson
d|tojson
ms|tojson
q|tojson
u|tojson
u|tojson(ensure_ascii=True)
d|tojson(indent=2)
d|tojson(indent=4,sort_keys=true)
e|tojson(indent=2)
{}|tojson(indent=2)
{'a':{},'b':[]}|tojson(indent=2)
b|tojson
n|tojson
t|tojson
nope|tojson
[1.0,1e20,1e-7]|tojson
'🙂'|tojson(ensure_ascii=true)
d|tojson(separators=(',',':'))
{1:2,n:3,t:4,2.5:1}|tojson
s|list
l|list
d|list
e|list
range(3)|list
a|string
b|string
n|string
t|string
l|string
'42'|int
'4.7'|int
'x'|int
'x'|int(7)
' 12 '|int
'0x1f'|int(0,16)
'ff'|int(base=16)
b|int
n|int
t|int
'1_0'|int
'1.5'|float
'x'|float
'x'|float(2.0)
a|float
n|float
'inf'|float
'1e3'|float
-5|abs
neg|abs
(-2.5)|abs
s|abs
2.5|round
3.5|round
2.675|round(2)
42|round
42.55|round(1)
-2.5|round
2.1|round(method='ceil')
2.9|round(0,'floor')
1234|round(-2)
1.23456|round(3)|string
l|reverse|list
s|reverse
l|sort
l|sort(reverse=true)
words|sort
words|sort(case_sensitive=true)
ms|sort(attribute='role')|map(attribute='role')|list
words|unique|list
words|unique(true)|list
[1,1.0,true,2]|unique|list
ms|map(attribute='role')|list
ms|map(attribute='role')|join(',')
words|map('upper')|list
words|map('upper')|join
l|map('string')|list
ms|map(attribute='nope')|list
ms|map(attribute='nope',default='-')|list
words|map('replace','b','Z')|list
ms|selectattr('role','equalto','user')|list
ms|selectattr('role','eq','user')|map(attribute='content')|first
ms|rejectattr('role','in',['user','system'])|map(attribute='role')|list
ms|selectattr('tool_calls')|list|length
ms|selectattr('tool_calls','defined')|list|length
l|select('odd')|list
l|reject('odd')|list
l|select|list
[0,1,'',n,'x']|select|list
l|select('gt',1)|list
l|select('>',1)|list
l|select('divisibleby',2)|list
ms|selectattr('role','nope')|list
d|items|list
d|dictsort
{'b':1,'A':2}|dictsort
{'b':1,'A':2}|dictsort(true)
{'b':1,'A':2}|dictsort(by='value')
{'b':1,'A':2}|dictsort(reverse=true)
nope|items|list
l|items|list
"a\nb\n\nc"|indent
"a\nb\n\nc"|indent(2,true)
"a\nb\n\nc"|indent(2,blank=true)
"a\nb\n"|indent('> ')
'<b>'|safe
'<b>'|e
'<b>'|escape|e
('<b>'|safe)|e
'<a>'|e ~ '<b>'
'<b>' ~ ('<a>'|safe)
('<a>'|safe)+'<b>'
'<b>'+('<a>'|safe)
['<'|safe]
l|min
l|max
words|min
words|max
e|max
l|sum
ms|map(attribute='role')|map('length')|sum
[1,2.5]|sum
l|sum(start=10)
l|batch(2)|list
l|batch(2,'x')|list
l|slice(2)|list
'a b c'|wordcount
'hello'|center(11)
"%s-%d"|format('a',3)
"%.2f"|format(3.14159)
"%5d|%-5d|%05d"|format(1,2,3)
'%s' % 'x'
'%s %s' % (1,2)
'%r' % 'x'
'%x' % 255
'hello world foo'|truncate(8)
'hello world foo'|truncate(8,true)|string
ms|groupby('role')|list|length
words|groupby('0')|list
'x'|attr('upper') is callable
a is number
t is number
t is integer
a is integer
b is float
t is boolean
s is string
d is mapping
l is mapping
l is sequence
d is sequence
s is sequence
a is sequence
l is iterable
a is iterable
s is iterable
nope is iterable
d.keys() is sequence
d.keys() is iterable
a is odd
a is even
4 is divisibleby 2
4 is divisibleby(3)
a is sameas 1
t is sameas true
a is eq 1
a is ne 1
a is lt 2
a is ge 1
1 is in l
s is upper
'AB' is upper
'ab' is lower
t is true
f is false
a is true
range is callable
s.upper is callable
a is callable
nope is callable
a is undefined
s is not string
not s is string
a is equalto 1 and b is float
'x' is in s
n is none and t
s.upper()
s.lower()
s.title()
"they're bill's".title()
s.capitalize()
s.swapcase()
u.strip()
u.lstrip()
u.rstrip()
'xxaxx'.strip('x')
'abc'.strip('ab')
s.split()
s.split('o')
s.split('o',1)
'a,b,,c'.split(',')
' a  b '.split()
' a  b c '.split(none,1)
'a b c d'.rsplit(' ',1)
' a  b c '.rsplit(none,1)
'a\nb\r\nc\n'.splitlines()
'a\nb\n'.splitlines(true)
s.replace('l','L')
s.replace('l','L',1)
s.startswith('Hell')
s.startswith(('x','H'))
s.endswith('ld')
s.find('o')
s.find('zz')
s.rfind('o')
s.index('o')
s.index('q')
s.count('l')
'-'.join(['a','b'])
'-'.join([1])
'-'.join('abc')
''.join([])
'{} {}'.format(1,'a')
'{0} {x}'.format(1,x=2)
'{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}'.format(1,2,3,4,5.0,1234567)
'a.b'.partition('.')
'a.b.c'.rpartition('.')
'ab'.partition('x')
'5'.zfill(3)
'-5'.zfill(4)
'ab'.center(5)
'ab'.ljust(4,'.')
'ab'.rjust(4)
s.removeprefix('Hello ')
s.removesuffix('World')
'12'.isdigit()
''.isdigit()
'ab'.isalpha()
'a1'.isalnum()
' '.isspace()
'AB'.isupper()
s.islower()
u.count('')
s.split('')
'ß'.upper()
u.upper().lower()
s.find('o',5)
s.find('o',-3)
s.startswith('World',6)
l.append(4)
d.update({})
d.pop('x')
l.index(1)
l.count(1)
l.copy()
l.index(9)
(1,2).index(2)
''.__class__
''.__class__.__mro__
d.__class__.__name__
s._x
d._x
raise_exception('bad ' ~ s)
raise_exception()
strftime_now('%d %b %Y')
strftime_now('%Y-%m-%d %H:%M:%S %A %B %j %I %p %y %-d %e')
range(5)|list
range(1,5)|list
range(5,0,-2)|list
range(0)|list
range(3)
range(1,10,3)
range(3)[1]
range(3)|length
range(10**9)
range(5)[1:3]|list
range(1,2,0)
dict(a=1,b=2)
dict([('a',1)])
dict({'a':1},c=2)
namespace(a=1).a
namespace(a=1).b
namespace({'x':2}).x
namespace(a=1)
cycler(1,2).next()
joiner()()
[1,'a',none,true,1.5,(1,),{'a':[nope]}]
{'a':1,'b':'x','c':"it's"}
(1,2)
(1,)
()
{}
[]
1,2
'it\'s "q"'
['it\'s']
q
[q]
[u]
{1:2,'a':3,1.0:4}
{(1,2):3}
{[1]:2}
l+[4]
l*2
2*l
'ab'*3
'ab'*-1
(1,)+(2,)
l+(1,)
s+1
1+s
s-1
n+1
nope+1
t+1
-t
-s
-nope
+a
1/0
1%0
1//0
1.0/0
0**-1
d[1:2]
l['a']
l[nope]
l[n]
d[l]
d[1]
'%d' % 'x'
a()
s()
nope()
nope.x()
d.x()
l[1:'a']
l[::0]
{'a':1}.a
[1,2,3][1]
'abc'[1]
"a"|nofilter
1 is notest
a b
a +
(1
[1,2
{1:
}}
a.
a.1
a..b
1 if
f(
"abc
a|
a is
not
*
a=1
@
{% if
x.y z
a==
if
1 2
'a' 'b' 1
n|upper
t|upper
a|upper
nope|upper
nope|length
nope|list
nope|int
nope|string
nope ~ 'x'
nope|join
nope|first
nope|trim
nope|replace('a','b')
[nope]
nope|tojson
nope in l
'x' in nope
nope|sort
nope|map('upper')|list
nope.x is defined
d.nope.x is defined
d.nope is defined
(d.nope or {}).x is defined
nope and nope.x
nope < 1
1 if nope else 2
a|default(b)
d.y.z|length
d.y.z|last|tojson
ms[-1].tool_calls[0].function.arguments|tojson
ms[0]['content']|trim
ms[1].content.split('\n')[1]
ms|length - 1
(ms|length) % 2 == 0
ms[1:]|length
ms[-1]['role'] == 'assistant'
ms|selectattr('role','equalto','x')|first is defined
ms|selectattr('role','equalto','x') and 1
l|select('odd')|length
(l|map('string'))|list|join('+')
-1|abs
a|string + 'x'
'x' + a|string
1 + 2 ~ 3 + 4
a ~ -1
2 * 3 ** 2
not a == 1
a in [1] in [true]
a not in [1]
l|sort|first
l[0] is odd and l[1] is even
[[1,2],[3]]|sum(start=[])
"a,b".split(",")|map("upper")|join("+")
"""

# Statements, scopes, white space.
TEMPLATES = [
    '{% if a %}x{% endif %}\n',
    '{% if a %}\nx\n{% endif %}\ny',
    '  {% if a %}\n  x\n  {% endif %}\n  y\n\n',
    'a\n  {%- if a -%}\n  x\n  {%- endif -%}\n  y',
    '{%+ if a %}\n x {%+ endif +%}\n y',
    '  {{ a }}  \n  {{- a -}}  \n  z',
    '{# c #}\nx',
    '  {# c #}\n  x',
    '{#- c -#}\n x',
    'a {#- c -#}\n x',
    '{#-#}x',
    '{# c +#}\nx',
    '{# a\n b #} c',
    'a {# c',
    '{% raw %}{{ x }}{% endraw %}\ny',
    '{% raw %}\n{{ x }}\n{% endraw %}\ny',
    '{%- raw -%}\n {{ x }} \n{%- endraw -%}\ny',
    '  {% raw %}  {% if %}\n  {% endraw %}\n z',
    '{% raw %} x',
    '{%raw%}x{%endraw%}',
    '\r\n{% if a %}\r\nx\r\n{% endif %}\r\ny\r\n',
    'a\n\n',
    'a\n',
    '{{ a }}\n',
    '\n',
    '',
    '   ',
    "x{{ '}}' }}y",
    "{{ {'a':{'b':1}} }}",
    "{{{'a':1}.a}}",
    "{% set x={'a':1} %}{{x.a}}",
    '{% if a %}{% if not a %}1{% elif a == 1 %}2{% else %}3{% endif %}{% else %}4{% endif %}',
    "{% for x in l %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }}/{{ loop.previtem }}/{{ loop.nextitem }}/{{ loop.depth }}/{{loop.cycle('a','b')}}/{{ loop.changed(x>1) }} {{ x }};{% endfor %}",
    '{% for x in [] %}x{% else %}none{% endfor %}',
    '{% for x in l if x > 1 %}{{ loop.index }}{{ x }}{{ loop.last }}{% else %}none{% endfor %}',
    '{% for x in l if x > 9 %}{{ x }}{% else %}none{% endfor %}',
    '{% for k, v in d.items() %}{{ k }}={{ v }}{% if not loop.last %}, {% endif %}{% endfor %}',
    '{% for k in d %}{{ k }}{% endfor %}',
    '{% for k, v in d|items %}{{k}}{{v}}{% endfor %}',
    '{% for a, b in pairs %}{{ a }}{{ b }}{% endfor %}{{ a }}',
    '{% for a, b in l %}{{ a }}{% endfor %}',
    '{% for a,b,c in pairs %}{% endfor %}',
    '{% for (a,b),c in [((1,2),3)] %}{{a}}{{b}}{{c}}{% endfor %}',
    '{% for c in s %}{{ c }}-{% endfor %}',
    '{% for c in a %}{{ c }}-{% endfor %}',
    '{% for c in n %}{{ c }}-{% endfor %}',
    '{% for c in nope %}{{ c }}-{% else %}E{% endfor %}',
    '{% for x in range(3) %}{{ x }}{% endfor %}',
    '{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}',
    '{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}{{ x }}',
    '{% break %}',
    '{% for x in l %}{% for y in l %}{% if y == x %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}',
    '{% set x = 1 %}{% for i in l %}{{ x }}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}',
    '{% set ns = namespace(x=0) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}',
    '{% set x, y = 1, 2 %}{{ x }}{{ y }}',
    '{% set x, y = [1] %}',
    '{% set a.b = 1 %}',
    '{% set x = 1, 2 %}{{ x }}',
    '{% set x %}a{{ s }}b{% endset %}{{ x }}|{{ x|length }}',
    '{% set x | upper %}a{{ s }}b{% endset %}{{ x }}',
    "{% set x | replace('a', 'z') | upper %}a{{ s }}b{% endset %}{{ x }}",
    '{% set x %}{% set y = 2 %}{{ y }}{% endset %}{{ x }}{{ y }}',
    '{% if a %}{% set x = 3 %}{% endif %}{{ x }}',
    '{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b is defined }}{{ ns }}',
    '{% set ns = namespace(l=[]) %}{% for x in l %}{% set ns.l = ns.l + [x] %}{% endfor %}{{ ns.l }}',
    '{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, 3) }}|{{ m(1, c=5) }}|{{ m(b=7,a=0) }}|{{ m() }}',
    '{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1,2,x=3) }}',
    '{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1,2) }}',
    '{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}',
    '{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1,a=2) }}',
    '{% macro m(a) %}{{ a.x }}{% endmacro %}{{ m() }}',
    '{% macro m(a) %}{{ a }}{% endmacro %}{{ m }}{{ m.name }}',
    '{% macro m(x) %}{% if x > 0 %}{{ x }}{{ m(x-1) }}{% endif %}{% endmacro %}{{ m(5) }}',
    '{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(5) }}',
    '{% set g = 1 %}{% macro m() %}{{ g }}{% endmacro %}{{ m() }}{% set g = 2 %}{{ m() }}',
    "{% macro m() %}{{ s }}{% set s = 'x' %}{{ s }}{% endmacro %}{{ m() }}{{ s }}",
    '{% macro m() %}  x  {% endmacro %}{{ m()|trim }}!',
    '{% macro m() -%}\n  x\n{%- endmacro %}{{ m() }}!',
    '{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}',
    '{% macro w() %}<{{ caller() }}>{% endmacro %}{% call w() %}in {{ a }}{% endcall %}',
    '{% macro w(x) %}<{{ caller(x, 2) }}>{% endmacro %}{% call(p, q) w(5) %}{{ p }}{{ q }}{% endcall %}',
    '{% macro w() %}x{% endmacro %}{% call w() %}in{% endcall %}',
    '{% macro w() %}{{ caller() }}{% endmacro %}{{ w() }}',
    '{% call s %}{% endcall %}',
    '{% filter upper %}a{{ s }}{% endfilter %}',
    "{% filter replace('l','L')|trim %} {{ s }} {% endfilter %}",
    '{% with x = 5, y = 6 %}{{ x }}{{ y }}{% endwith %}{{ x }}',
    '{% with %}{% set x = 1 %}{{ x }}{% endwith %}{{ x }}',
    '{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}',
    '{% generation %}abc{{ a }}{% set zz=1 %}{% endgeneration %}{{ zz }}',
    '{%- generation -%}\n abc {%- endgeneration %}',
    "{% for m in ms %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}",
    '{% for n in tree recursive %}{{ n.v }}{% if n.c %}({{ loop(n.c) }}){% endif %}{{ loop.depth }}{% endfor %}',
    '{% for n in tree %}{{ loop(n.c) }}{% endfor %}',
    '{{ loop }}',
    '{% for x in l %}{% if loop.first %}{% set y = x %}{% endif %}{{ y }}{% endfor %}',
    '{% for x in l %}{{ loop.foo }}{% endfor %}',
    '{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}',
    '{% print 1 %}',
    '{% print 1, 2 %}',
    '{% do x %}',
    "{% include 'x' %}",
    '{% nope %}',
    '{% endif %}',
    '{% if a %}',
    '{% if a %}{% endfor %}',
    '{% for x in l %}',
    '{% else %}',
    '{% if %}{% endif %}',
    '{% for x %}{% endfor %}',
    '{% for 1 in l %}{% endfor %}',
    '{% set 1 = 2 %}',
    '{% set true = 2 %}',
    '{% set x %}',
    '{% macro %}{% endmacro %}',
    '{% macro m(a=1,b) %}{% endmacro %}',
    '{{',
    '{%',
    '{{ a',
    '{% if a',
    '{{ a %}',
    '{% if a }}',
    '}} %} #}',
    '{ { } } % # {',
    '{{ a }',
    '{ {a}}',
    'a{b}c{%if a%}d{%endif%}',
    '{% if nope is defined and nope.x %}1{% else %}2{% endif %}',
    '{% if a %}{{ a|nofilter }}{% endif %}',
    '{% if not a %}{{ a|nofilter }}{% endif %}ok',
    '{{ 1 if a else (2|nofilter) }}',
    '{% if a %}{% for x in l %}{{ x|nofilter }}{% endfor %}{% endif %}',
    "{%- for m in ms -%}\n{{ '<|' + m['role'] + '|>' }}\n{{ m.content | trim }}\n{%- if not loop.last %}\n{% endif -%}\n{%- endfor -%}\n",
    '{% set loop_messages = ms[1:] %}{% for m in loop_messages %}{{ m.role }}{% endfor %}',
    '{% for m in ms[::-1] %}{{ m.role }}{% endfor %}',
    '{% for i in range(ms|length - 1, -1, -1) %}{{ ms[i].role }}{% endfor %}',
    '{% for m in ms | reverse %}{{ m.role }}{% endfor %}',
    "{% set m = ms | selectattr('role', 'equalto', 'user') | list | last %}{{ m.content }}",
    "{% set x = ms | selectattr('role','equalto','user') %}{% for a in x %}{{ a.role }}{% endfor %}{% for a in x %}{{ a.role }}{% endfor %}|{{ x|list|length }}",
    "{% if ms | selectattr('role','equalto','zzz') %}yes{% else %}no{% endif %}",
    "{{ raise_exception('Conversation roles must alternate') }}",
    "{% for m in ms %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alt ' ~ loop.index) }}{% endif %}{% endfor %}",
    "{% set j = joiner(' | ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}",
    "{% set c = cycler('a','b') %}{% for x in l %}{{ c.next() }}{{ c.current }}{% endfor %}{{ c.reset() }}{{ c.current }}",
    '{% macro f(*a) %}{% endmacro %}',
    "{{ '{}-{}'.format(*l) }}{{ range(*[1,4])|list }}",
    '{% set d2 = dict(d, z=3) %}{{ d2 }}',
    "{{ d.items()|list }}{{ d.keys()|list }}{{ d.values()|list }}{{ d.items() }}{{ d.keys()|length }}{{ 'x' in d.keys() }}{{ d.items()|first }}{{ d.keys()[0] }}",
    'x\n  \n {% if a %}\n\n{{ s }}\n\n{% endif %}\n\n\n',
    '  {%- set x = 1 %}\n  {{ x }}\n\t{% if a %}\n\tb\n\t{% endif %}\nc',
    '{% if a %} {% endif %}\n  {% if a %}b{% endif %}  {% if a %}c{% endif %}\n',
    '\xa0{%- if a %}x{% endif -%}\u3000y',
    "a {{- ' b ' -}} c {%- if a %} d {% endif -%} e",
    "{% set content = 'x</think>y' %}{% if '</think>' in content %}{% set r = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}{% set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}{{ r }}|{{ content }}",
    '{% for x in l %}{% set outer = loop %}{% for y in l %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}',
    "{% if a is defined %}{{ 'd' }}{% endif %}{% if a is not none and a != 2 %}x{% endif %}",
    "{{ a if a is defined else 'u' }}",
    '{% set x = a if a else none %}{{ x }}',
    '{{ (a, s)[1] }}{{ [a, s][-1] }}',
    '{% set x = (1, 2) + (3,) %}{{ x|sum }}',
    '{{- a }}\n\n{{ a -}}\n\n x',
    '{%- if true %}\n{%- endif %}\n  x',
    '{%- if true -%}   {%- endif -%}   x',
    '{% set a = 1 -%}\n   \n  b',
    "{{ s|replace('l', '') }}{{ s.replace('l','') }}",
    '{{\'a\'}}{{"b"}}{{ \'it\'\'s\' }}',
    "{% set x = 'a' 'b' %}{{x}}",
    '{% set x = [1,2,\n3,\n] %}{{ x }}',
    "{% set x = {\n'a': 1,\n'b': 2,\n} %}{{ x }}",
    '{{ s\n| upper\n}}',
    '{% if a\nand s\n%}x{% endif %}',
    '{% for x in l %}\n  {{ x }}\n{% endfor %}\nend',
    '{% for x in l -%}\n  {{ x }}\n{%- endfor %}\nend',
    '<{% for x in l %}{{ x }},{%- endfor -%} >',
    "{% macro a() %}{% endmacro %}{% if a() == '' %}empty{% endif %}",
    '{% set x = namespace(a=namespace(b=1)) %}{{ x.a.b }}',
    '{% for r in [1] %}{% set ns2 = namespace(v=r) %}{{ ns2.v }}{% endfor %}{{ ns2 is defined }}',
    "{% if 'a' is in ['a'] %}1{% endif %}{% if a is not in [2] %}2{% endif %}{% if a is not defined %}3{% endif %}",
    '{{ not a is defined }}{{ a is not defined }}',
    '{{ -a ** 2 }}{{ (-a) ** 2 }}{{ 2 ** -a }}',
    '{{ a.__class__ }}|{{ [].append }}|',
    "{{ d | dictsort | map(attribute=0) | list }}{{ pairs | map('first') | list }}{{ pairs | map(attribute=1) | sum }}{{ ms | map(attribute='content') | map('upper') | join('/') }}",
    '{{ ms | tojson(indent=2) }}\n{{ d | tojson }}',
    "{% set s = s ~ '!' %}{{ s }}{% set s = s + '?' %}{{ s }}",
    '{% for x in l %}{% for y in [1] %}{% set z = x %}{% endfor %}{{ z }}{% endfor %}',
    '{% set z = 0 %}{% for x in l %}{% set z = x %}{% if z > 2 %}{{ z }}{% endif %}{% endfor %}{{ z }}',
    '{% for x in l if loop.index > 1 %}{% endfor %}',
    '{% for x in l %}{% if loop.index0 is divisibleby 2 %}{{ x }}{% endif %}{% endfor %}',
    '{% for x in [[1,2],[3]] %}{% for y in x %}{{ loop.length }}{{ y }}{% endfor %};{{ loop.length }}{% endfor %}',
]
