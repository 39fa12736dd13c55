"""Second edition: dates of pregnancy, counted from the last menstrual period."""

from copilot.envs.sources.clinical_calc.records import Calculator, Citation, Day, Quantity, Values

_LMP = Day("lmp", "last menstrual period", "2015-01-01", "2024-06-30")
_TODAY = Day("today", "seen on", "2015-03-01", "2025-03-31")
_CYCLE = Quantity("cycle", ("cycle length",), "days", 22, 35)


def _due(v: Values) -> float:
    return v["lmp"] + 280 + v["cycle"] - 28


def _conception(v: Values) -> float:
    return v["lmp"] + v["cycle"] - 14


def _gestation(v: Values) -> float:
    return v["today"] - v["lmp"]


_DATES = "from datetime import date, timedelta\n"
_LMP_DATE = "date.fromisoformat('{lmp}')"

CALCULATORS = (
    Calculator(
        name="due_date",
        system="obstetric",
        citation=Citation("American College of Obstetricians and Gynecologists", "Obstet Gynecol 129:e150-e154", 2017),
        asks=("due date by Naegele's rule (cycle-adjusted)", "estimated date of delivery", "estimated due date"),
        inputs=(_LMP, _CYCLE),
        formula=_due,
        program=f"{_DATES}answer = str({_LMP_DATE} + timedelta(days=280 + {{cycle}} - 28))",
        statement="last menstrual period + 280 days + (cycle - 28) days",
        whole=True,
        gives="day",
        ages=(18, 44),
    ),
    Calculator(
        name="conception_date",
        system="obstetric",
        citation=Citation("Lenton EA, Landgren BM, Sexton L", "Br J Obstet Gynaecol 91:685-689", 1984),
        asks=("estimated date of conception", "probable day of conception", "date of conception (14-day luteal phase)"),
        inputs=(_LMP, _CYCLE),
        formula=_conception,
        program=f"{_DATES}answer = str({_LMP_DATE} + timedelta(days={{cycle}} - 14))",
        statement="last menstrual period + (cycle - 14) days",
        whole=True,
        gives="day",
        ages=(18, 44),
    ),
    Calculator(
        name="gestational_age",
        system="obstetric",
        citation=Citation("American College of Obstetricians and Gynecologists", "Obstet Gynecol 129:e150-e154", 2017),
        asks=(
            "gestational age in weeks and days",
            "age of the pregnancy, as weeks and days",
            "gestational age (weeks, days)",
        ),
        inputs=(_LMP, _TODAY),
        formula=_gestation,
        possible=lambda v: 28 <= _gestation(v) <= 294,
        program=(
            f"{_DATES}days = (date.fromisoformat('{{today}}') - {_LMP_DATE}).days\nanswer = [days // 7, days % 7]"
        ),
        statement="days since the last menstrual period, as whole weeks and the days left",
        whole=True,
        gives="span",
        ages=(18, 44),
    ),
)
