"""First page: what is estimated and what is not; purpose and consent, as the command line asks for them."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from fertrack.errors import ConfigError
from fertrack.rights.config import PrivacyConfig
from fertrack.rights.purpose import check_stated, notice_text

__all__ = ["ABOUT", "StatementDialog"]

ABOUT = (
    "fertrack estimates which of seven expressions a face resembles, how sure that is, and for how long. It says "
    "nothing about what a person feels, and it can be wrong, more often on small, turned, covered or badly lit "
    "faces.\n\n"
    "Everything stays on this machine. In the EU, inferring emotions of people at work or in education is prohibited, "
    "apart from medical and safety uses; elsewhere the people who are filmed must be told."
)


class StatementDialog(QDialog):
    """Asks for purpose and consent before the first analysis; both are stored with the run.

    Args:
        purpose: as stated last.
        consent: as stated last.
        parent: the window.
    """

    def __init__(self, purpose: str, consent: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Before you analyse people")
        about = QLabel(ABOUT)
        about.setWordWrap(True)
        about.setTextFormat(Qt.TextFormat.PlainText)
        self.purpose, self.consent = QLineEdit(purpose), QLineEdit(consent)
        self.purpose.setPlaceholderText("for example: usability study 12, how people take the new form")
        self.consent.setPlaceholderText("for example: written consent of 3 December 2026")
        self.problem = QLabel()
        self.problem.setObjectName("problem")
        self.problem.setWordWrap(True)
        self.problem.hide()
        notice = QPlainTextEdit(notice_text())
        notice.setReadOnly(True)
        notice.setAccessibleName("Notice for the people filmed")
        form = QFormLayout()
        form.addRow("&Purpose", self.purpose)
        form.addRow("&Consent", self.consent)
        page = QWidget()
        column = QVBoxLayout(page)
        column.addWidget(about)
        column.addLayout(form)
        column.addWidget(self.problem)
        column.addStretch(1)
        tabs = QTabWidget()
        tabs.addTab(page, "What is estimated")
        tabs.addTab(notice, "What to tell the people filmed")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.button(QDialogButtonBox.StandardButton.Ok).setText("Analyse")
        buttons.accepted.connect(self._check)
        buttons.rejected.connect(self.reject)
        whole = QVBoxLayout(self)
        whole.addWidget(tabs)
        whole.addWidget(buttons)
        self.resize(620, 420)

    def _check(self) -> None:
        try:
            check_stated(PrivacyConfig(purpose=self.purpose.text().strip(), consent=self.consent.text().strip()))
        except (ConfigError, ValueError) as error:
            self.problem.setText(str(error))
            self.problem.show()
            return
        self.accept()
