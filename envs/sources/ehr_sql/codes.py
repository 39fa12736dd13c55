"""ICD-9-CM codes of the generated hospital: real codes with their official titles, and how often they are seen.

A code without its dot, as MIMIC-III stores it. ``weight`` is relative frequency among billed codes of an adult
intensive-care hospital, from general knowledge; ``group`` names the illness that drives laboratory values, drugs and
procedures of the admission.
"""

# ruff: noqa: E501  (official titles are as long as they are)
from typing import NamedTuple


class Code(NamedTuple):
    """A line of an ICD-9-CM table."""

    code: str
    short_title: str
    long_title: str
    weight: float
    group: str


def _parse(table: str) -> tuple[Code, ...]:
    rows = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return tuple(Code(code, short, long, float(weight), group) for code, short, long, weight, group in rows)


DIAGNOSES = _parse("""
4019  | hypertension nos | unspecified essential hypertension | 20 | common
4280  | chf nos | congestive heart failure, unspecified | 13 | heart
42731 | atrial fibrillation | atrial fibrillation | 13 | heart
41401 | crnry athrscl natve vssl | coronary atherosclerosis of native coronary artery | 12 | coronary
5849  | acute kidney failure nos | acute kidney failure, unspecified | 9 | renal
25000 | dmii wo cmp nt st uncntr | diabetes mellitus without mention of complication, type ii or unspecified type, not stated as uncontrolled | 9 | diabetes
2724  | hyperlipidemia nec/nos | other and unspecified hyperlipidemia | 9 | common
51881 | acute respiratry failure | acute respiratory failure | 7.5 | lung
5990  | urin tract infection nos | urinary tract infection, site not specified | 6.5 | infection
53081 | esophageal reflux | esophageal reflux | 6.3 | common
2720  | pure hypercholesterolem | pure hypercholesterolemia | 6 | common
2859  | anemia nos | anemia, unspecified | 5.5 | blood
2851  | ac posthemorrhag anemia | acute posthemorrhagic anemia | 4.6 | bleeding
2449  | hypothyroidism nos | unspecified acquired hypothyroidism | 5 | thyroid
486   | pneumonia, organism nos | pneumonia, organism unspecified | 5 | lung
2762  | acidosis | acidosis | 4.5 | renal
496   | chr airway obstruct nec | chronic airway obstruction, not elsewhere classified | 4.4 | lung
99592 | severe sepsis | severe sepsis | 4 | infection
0389  | septicemia nos | unspecified septicemia | 3.8 | infection
78552 | septic shock | septic shock | 2.6 | infection
99591 | sepsis | sepsis | 1.3 | infection
5070  | food/vomit pneumonitis | pneumonitis due to inhalation of food or vomitus | 3.6 | lung
5859  | chronic kidney dis nos | chronic kidney disease, unspecified | 3.4 | renal
40390 | hy kid nos w cr kid i-iv | hypertensive chronic kidney disease, unspecified, with chronic kidney disease stage i through stage iv, or unspecified | 3.4 | renal
311   | depressive disorder nec | depressive disorder, not elsewhere classified | 3.4 | mental
412   | old myocardial infarct | old myocardial infarction | 3.2 | coronary
41071 | subendo infarct, initial | subendocardial infarction, initial episode of care | 3 | coronary
2875  | thrombocytopenia nos | thrombocytopenia, unspecified | 3 | blood
3051  | tobacco use disorder | tobacco use disorder | 3.2 | mental
2761  | hyposmolality | hyposmolality and/or hyponatremia | 3 | renal
2760  | hyperosmolality | hyperosmolality and/or hypernatremia | 2.2 | renal
V4581 | aortocoronary bypass | aortocoronary bypass status | 3 | coronary
4240  | mitral valve disorder | mitral valve disorders | 2.8 | heart
4241  | aortic valve disorder | aortic valve disorders | 2.4 | heart
V5861 | long-term use anticoagul | long-term (current) use of anticoagulants | 3.6 | heart
5119  | pleural effusion nos | unspecified pleural effusion | 2.6 | lung
78039 | convulsions nec | other convulsions | 1.8 | neuro
49390 | asthma nos | asthma, unspecified type, unspecified | 2.1 | lung
5180  | pulmonary collapse | pulmonary collapse | 2 | lung
4271  | parox ventric tachycard | paroxysmal ventricular tachycardia | 1.7 | heart
42789 | cardiac dysrhythmias nec | other specified cardiac dysrhythmias | 2 | heart
99811 | hemorrhage complic proc | hemorrhage complicating a procedure | 1.5 | bleeding
5789  | gastrointest hemorr nos | hemorrhage of gastrointestinal tract, unspecified | 1.6 | bleeding
53540 | oth spf gastrt w/o hmrhg | other specified gastritis, without mention of hemorrhage | 0.8 | bleeding
5715  | cirrhosis of liver nos | cirrhosis of liver without mention of alcohol | 1.5 | liver
5712  | alcohol cirrhosis liver | alcoholic cirrhosis of liver | 1.3 | liver
5723  | portal hypertension | portal hypertension | 1.1 | liver
5722  | hepatic encephalopathy | hepatic encephalopathy | 0.9 | liver
07054 | chrnc hpt c wo hpat coma | chronic hepatitis c without mention of hepatic coma | 1.4 | liver
78959 | ascites nec | other ascites | 1.1 | liver
5770  | acute pancreatitis | acute pancreatitis | 1.1 | liver
30500 | alcohol abuse-unspec | alcohol abuse, unspecified | 1.3 | liver
431   | intracerebral hemorrhage | intracerebral hemorrhage | 1.4 | neuro
430   | subarachnoid hemorrhage | subarachnoid hemorrhage | 1.1 | neuro
43491 | crbl art ocl nos w infrc | cerebral artery occlusion, unspecified with cerebral infarction | 1.4 | neuro
4321  | subdural hemorrhage | subdural hemorrhage | 0.9 | neuro
34830 | encephalopathy nos | encephalopathy, unspecified | 1 | neuro
29281 | drug-induced delirium | drug-induced delirium | 1 | mental
2930  | delirium d/t other cond | delirium due to conditions classified elsewhere | 1.3 | mental
32723 | obstructive sleep apnea | obstructive sleep apnea (adult)(pediatric) | 1.9 | lung
27800 | obesity nos | obesity, unspecified | 1.6 | common
27801 | morbid obesity | morbid obesity | 1 | common
2749  | gout nos | gout, unspecified | 1.8 | common
73300 | osteoporosis nos | osteoporosis, unspecified | 1.9 | common
60000 | bph w/o urinary obs/luts | hypertrophy (benign) of prostate without urinary obstruction and other lower urinary tract symptom (luts) | 1.8 | common
4439  | periph vascular dis nos | peripheral vascular disease, unspecified | 1.7 | coronary
4589  | hypotension nos | hypotension, unspecified | 1.7 | heart
45829 | iatrogenc hypotnsion nec | other iatrogenic hypotension | 1.6 | heart
2768  | hypopotassemia | hypopotassemia | 1.6 | renal
2767  | hyperpotassemia | hyperpotassemia | 1.3 | renal
5845  | ac kidny fail, tubr necr | acute kidney failure with lesion of tubular necrosis | 1.8 | renal
5856  | end stage renal disease | end stage renal disease | 1.5 | renal
V4511 | renal dialysis status | renal dialysis status | 0.8 | renal
58381 | nephritis nos in oth dis | nephritis and nephropathy, not specified as acute or chronic, in diseases classified elsewhere | 1 | renal
25040 | dmii renl nt st uncntrld | diabetes with renal manifestations, type ii or unspecified type, not stated as uncontrolled | 1.2 | diabetes
25060 | dmii neuro nt st uncntrl | diabetes with neurological manifestations, type ii or unspecified type, not stated as uncontrolled | 1.2 | diabetes
3572  | neuropathy in diabetes | polyneuropathy in diabetes | 1.3 | diabetes
25013 | dmi ketoacd uncontrold | diabetes with ketoacidosis, type i [juvenile type], uncontrolled | 0.6 | diabetes
42833 | ac on chr diast hrt fail | acute on chronic diastolic heart failure | 1.4 | heart
42823 | ac on chr syst hrt fail | acute on chronic systolic heart failure | 1.3 | heart
42832 | chr diastolic hrt fail | chronic diastolic heart failure | 1 | heart
4254  | prim cardiomyopathy nec | other primary cardiomyopathies | 1.3 | heart
4168  | chr pulmon heart dis nec | other chronic pulmonary heart diseases | 1.6 | heart
41519 | pulm embol/infarct nec | other pulmonary embolism and infarction | 1 | lung
45341 | ac dvt/embl prox low ext | acute venous embolism and thrombosis of deep vessels of proximal lower extremity | 0.7 | heart
4275  | cardiac arrest | cardiac arrest | 1.1 | coronary
78551 | cardiogenic shock | cardiogenic shock | 1.1 | coronary
4111  | intermed coronary synd | intermediate coronary syndrome | 1.3 | coronary
5601  | paralytic ileus | paralytic ileus | 1.1 | gut
56210 | dvrtclo colon w/o hmrhg | diverticulosis of colon (without mention of hemorrhage) | 1 | gut
00845 | int inf clstrdium dfcile | intestinal infection due to clostridium difficile | 1.3 | infection
5771  | chronic pancreatitis | chronic pancreatitis | 0.5 | liver
6826  | cellulitis of leg | cellulitis and abscess of leg, except foot | 0.9 | infection
7907  | bacteremia | bacteremia | 1.2 | infection
99931 | oth/uns inf-cen ven cath | other and unspecified infection due to central venous catheter | 0.8 | infection
48241 | meth sus pneum d/t staph | methicillin susceptible pneumonia due to staphylococcus aureus | 1 | lung
0413  | klebsiella pneumoniae | friedlander's bacillus infection in conditions classified elsewhere and of unspecified site | 0.7 | infection
0414  | e. coli infect nos | escherichia coli [e. coli] infection in conditions classified elsewhere and of unspecified site | 0.9 | infection
70703 | pressure ulcer, low back | pressure ulcer, lower back | 1.3 | infection
2639  | protein-cal malnutr nos | unspecified protein-calorie malnutrition | 1.1 | gut
1970  | secondary malig neo lung | secondary malignant neoplasm of lung | 0.7 | cancer
1985  | secondary malig neo bone | secondary malignant neoplasm of bone and bone marrow | 0.8 | cancer
1977  | second malig neo liver | malignant neoplasm of liver, secondary | 0.7 | cancer
1629  | mal neo bronch/lung nos | malignant neoplasm of bronchus and lung, unspecified | 0.7 | cancer
20280 | oth lymp unsp xtrndl org | other malignant lymphomas, unspecified site, extranodal and solid organ sites | 0.5 | cancer
28803 | drug induced neutropenia | drug induced neutropenia | 0.5 | cancer
V1582 | history of tobacco use | personal history of tobacco use | 2.6 | common
V5867 | long-term use of insulin | long-term (current) use of insulin | 2 | diabetes
V4501 | status cardiac pacemaker | cardiac pacemaker in situ | 1.3 | heart
29620 | depress psychosis-unspec | major depressive affective disorder, single episode, unspecified | 0.6 | mental
30000 | anxiety state nos | anxiety state, unspecified | 1.2 | mental
30928 | adjust dis w anxiety/dep | adjustment disorder with mixed anxiety and depressed mood | 0.3 | mental
8054  | fx lumbar vertebra-close | closed fracture of lumbar vertebra without mention of spinal cord injury | 0.6 | trauma
80701 | fracture one rib-closed | closed fracture of one rib | 0.5 | trauma
8602  | traum pneumothorax-close | traumatic pneumothorax without mention of open wound into thorax | 0.5 | trauma
82021 | intertrochanteric fx-cl | closed fracture of intertrochanteric section of neck of femur | 0.5 | trauma
E8859 | fall from slipping nec | fall from other slipping, tripping, or stumbling | 0.9 | trauma
E8889 | fall nos | unspecified fall | 0.8 | trauma
""")

PROCEDURES = _parse("""
3893 | venous cath nec | venous catheterization, not elsewhere classified | 14 | common
9604 | insert endotracheal tube | insertion of endotracheal tube | 10 | lung
9671 | cont inv mec ven <96 hrs | continuous invasive mechanical ventilation for less than 96 consecutive hours | 9 | lung
9672 | cont inv mec ven 96+ hrs | continuous invasive mechanical ventilation for 96 consecutive hours or more | 6 | lung
966  | entral infus nutrit sub | enteral infusion of concentrated nutritional substances | 9 | common
3961 | extracorporeal circulat | extracorporeal circulation auxiliary to open heart surgery | 6.5 | coronary
9904 | packed cell transfusion | transfusion of packed cells | 7 | bleeding
8856 | coronar arteriogr-2 cath | coronary arteriography using two catheters | 5.6 | coronary
3615 | 1 int mam-cor art bypass | single internal mammary-coronary artery bypass | 4.4 | coronary
3612 | aortocor bypas-2 cor art | (aorto)coronary bypass of two coronary arteries | 1.8 | coronary
3722 | left heart cardiac cath | left heart cardiac catheterization | 3.8 | coronary
3723 | rt/left heart card cath | combined right and left heart cardiac catheterization | 2 | heart
0066 | ptca | percutaneous transluminal coronary angioplasty [ptca] | 2.2 | coronary
3607 | ins drug-elut coronry st | insertion of drug-eluting coronary artery stent(s) | 1.7 | coronary
8872 | dx ultrasound-heart | diagnostic ultrasound of heart | 3.2 | heart
9915 | parent infus nutrit sub | parenteral infusion of concentrated nutritional substances | 2.7 | gut
3995 | hemodialysis | hemodialysis | 3.4 | renal
3895 | ven cath renal dialysis | venous catheterization for renal dialysis | 2 | renal
3324 | closed bronchial biopsy | closed [endoscopic] biopsy of bronchus | 2.4 | lung
3323 | other bronchoscopy | other bronchoscopy | 1.4 | lung
311  | temporary tracheostomy | temporary tracheostomy | 1.5 | lung
3491 | thoracentesis | thoracentesis | 1.9 | lung
3404 | insert intercostal cath | insertion of intercostal catheter for drainage | 1.4 | trauma
9390 | non-invasive mech vent | non-invasive mechanical ventilation | 2 | lung
4513 | sm bowel endoscopy nec | other endoscopy of small intestine | 2 | bleeding
4516 | egd with closed biopsy | esophagogastroduodenoscopy [egd] with closed biopsy | 1.3 | bleeding
4523 | colonoscopy | colonoscopy | 1 | gut
4311 | percu endosc gastrostomy | percutaneous [endoscopic] gastrostomy [peg] | 1.6 | neuro
5491 | percu abdominal drainage | percutaneous abdominal drainage | 1.9 | liver
5110 | endosc retro cholangiopa | endoscopic retrograde cholangiopancreatography [ercp] | 0.6 | liver
5188 | endosc remove bile stone | endoscopic removal of stone(s) from biliary tract | 0.4 | liver
0331 | spinal tap | spinal tap | 1.7 | neuro
0139 | other brain incision | other incision of brain | 0.5 | neuro
0131 | incise cerebral meninges | incision of cerebral meninges | 0.6 | neuro
8841 | contrast cerebr arteriog | arteriography of cerebral arteries | 1.2 | neuro
9907 | serum transfusion nec | transfusion of other serum | 2 | bleeding
9905 | platelet transfusion | transfusion of platelets | 1.6 | blood
3891 | arterial catheterization | arterial catheterization | 3 | common
8962 | cvp monitoring | central venous pressure monitoring | 1 | common
3761 | pulsation balloon implan | implant of pulsation balloon | 0.9 | coronary
9962 | heart countershock nec | other electric countershock of heart | 0.9 | heart
3783 | int insert dual-cham dev | initial insertion of dual-chamber device | 0.6 | heart
3521 | replace aort valv-tissue | open and other replacement of aortic valve with tissue graft | 1 | heart
8622 | wound debridement | excisional debridement of wound, infection, or burn | 1 | infection
9925 | inject ca chemother nec | injection or infusion of cancer chemotherapeutic substance | 0.6 | cancer
387  | interruption vena cava | interruption of the vena cava | 0.8 | heart
7935 | open reduc-int fix femur | open reduction of fracture with internal fixation, femur | 0.5 | trauma
""")
