import jinja2
import pytest

from bellhousing.requests import ChatMessage
from bellhousing_ollama.chat_template import rendered

USER = (ChatMessage("user", "Hi"),)


def test_a_template_gets_messages_and_the_text_of_special_tokens() -> None:
    template = "{% for m in messages %}{{ bos_token }}{{ m.role }}:{{ m.content }}{{ eos_token }}{% endfor %}"
    assert rendered(template, USER, bos="<", eos=">") == "<user:Hi>"


def test_lines_of_blocks_alone_leave_no_space() -> None:
    template = "{% for m in messages %}\n  {% if m.role == 'user' %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}"
    assert rendered(template, USER) == "Hi\n"


def test_the_assistants_turn_is_asked_for() -> None:
    assert rendered("{% if add_generation_prompt %}assistant{% endif %}", USER) == "assistant"


def test_a_template_may_refuse_messages() -> None:
    with pytest.raises(jinja2.TemplateError, match="no users"):
        rendered("{{ raise_exception('no users') }}", USER)


def test_a_template_cannot_reach_python() -> None:
    with pytest.raises(jinja2.TemplateError):
        rendered("{{ messages.__class__.__mro__ }}", USER)
